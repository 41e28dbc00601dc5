//! A signed notification as a request in plain HTTP/1.1.

use tajo::sandbox::intercom::sign;

/// The whole request that delivers a body.
pub(crate) fn signed(body: &str, secret: &str) -> Vec<u8> {
    let signature = sign(secret, body.as_bytes());
    let head = format!(
        "POST /webhooks/intercom HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         X-Hub-Signature: {signature}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body.as_bytes()].concat()
}
