//! Clients that are slow, silent, many, or there when the server ends.

use std::time::Duration;

use super::*;

const SHORT: Duration = Duration::from_millis(100);
const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_head_that_does_not_come_ends_the_connection() {
    let options = ServerOptions { head: SHORT, ..ServerOptions::default() };
    let server = TestServer::start_with("", options).await;
    for text in ["", "POST /webhooks/intercom HTTP/1.1\r\nHost: tajo\r\n"] {
        assert_eq!(raw(server.addresses.public, text).await, "");
    }
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let options = ServerOptions { body: SHORT, ..ServerOptions::default() };
    let server = TestServer::start_with("", options).await;
    let text = "POST /webhooks/intercom HTTP/1.1\r\nHost: tajo\r\nContent-Length: 9\r\n\r\nxx";
    Reply::read(&raw(server.addresses.public, text).await).problem(408);
}

#[tokio::test]
async fn large_bodies_wait_for_each_other_and_small_ones_for_none() {
    let options = ServerOptions { large_bodies: 1, body: LONG, ..ServerOptions::default() };
    let server = TestServer::start_with("", options).await;
    let address = server.addresses.public;
    let head = "POST /webhooks/intercom HTTP/1.1\r\nConnection: close\r\nContent-Length: 70000\r\n";
    let mut slow = TcpStream::connect(address).await.unwrap();
    let asks = format!("{head}Expect: 100-continue\r\n\r\n");
    slow.write_all(asks.as_bytes()).await.unwrap();
    slow.read_exact(&mut [0; 25]).await.unwrap();
    let large = format!("{head}\r\n{}", "x".repeat(70_000));
    let waits = raw(address, &large);
    tokio::pin!(waits);
    assert!(tokio::time::timeout(SHORT, &mut waits).await.is_err());
    server.deliver(&notification("n1", "contact.created", "c1")).await.expect(200);
    drop(slow);
    Reply::read(&waits.await).expect(401);
}

#[tokio::test]
async fn a_connection_is_used_again_after_a_body() {
    let server = TestServer::start().await;
    let mut stream = TcpStream::connect(server.addresses.public).await.unwrap();
    let body = notification("n1", "contact.created", "c1");
    let request = format!(
        "POST /webhooks/intercom HTTP/1.1\r\nHost: tajo\r\nX-Hub-Signature: {}\r\n\
         Content-Length: {}\r\n\r\n{body}",
        sign(&body),
        body.len()
    );
    for _ in 0..2 {
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"{}") {
            assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0);
        }
        assert!(answer.starts_with(b"HTTP/1.1 200"));
    }
    stream.write_all(b"GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n").await.unwrap();
    Reply::read(&read_to_end(&mut stream).await).expect(200);
}

#[tokio::test]
async fn one_connection_too_many_waits_until_another_ends() {
    let options = ServerOptions { connections: 1, head: LONG, ..ServerOptions::default() };
    let server = TestServer::start_with("", options).await;
    let address = server.addresses.public;
    let mut first = TcpStream::connect(address).await.unwrap();
    first.write_all(b"GET /healthz HTTP/1.1\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"ok\n") {
        first.read_buf(&mut answer).await.unwrap();
    }
    let second = send(address, "GET", "/healthz", &[], "");
    tokio::pin!(second);
    assert!(tokio::time::timeout(SHORT, &mut second).await.is_err());
    drop(first);
    second.await.expect(200);
}

#[tokio::test]
async fn who_does_not_take_the_answers_is_let_go() {
    let options = ServerOptions { write_stall: SHORT, head: LONG, ..ServerOptions::default() };
    let server = TestServer::start_with("", options).await;
    let mut stream = TcpStream::connect(server.addresses.public).await.unwrap();
    // Asks on and on and reads nothing, until the server gives up.
    let questions = "GET /metrics HTTP/1.1\r\n\r\n".repeat(1_000);
    let asking = async { while stream.write_all(questions.as_bytes()).await.is_ok() {} };
    tokio::time::timeout(LONG, asking).await.unwrap();
}

#[tokio::test]
async fn at_the_end_idle_connections_close_and_requests_under_way_are_answered() {
    let server = TestServer::start().await;
    let address = server.addresses.public;
    let mut idle = TcpStream::connect(address).await.unwrap();
    idle.write_all(b"GET /healthz HTTP/1.1\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"ok\n") {
        idle.read_buf(&mut answer).await.unwrap();
    }
    let body = notification("n1", "contact.created", "c1");
    let head = format!(
        "POST /webhooks/intercom HTTP/1.1\r\nExpect: 100-continue\r\nX-Hub-Signature: {}\r\n\
         Content-Length: {}\r\n\r\n",
        sign(&body),
        body.len()
    );
    let mut busy = TcpStream::connect(address).await.unwrap();
    busy.write_all(head.as_bytes()).await.unwrap();
    let mut told = [0; 25];
    busy.read_exact(&mut told).await.unwrap();
    assert_eq!(&told, b"HTTP/1.1 100 Continue\r\n\r\n");

    server.shutdown.cancel();
    assert_eq!(read_to_end(&mut idle).await, "");
    busy.write_all(body.as_bytes()).await.unwrap();
    Reply::read(&read_to_end(&mut busy).await).expect(200);
    server.task.await.unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn at_the_end_nobody_is_waited_for_longer_than_the_grace() {
    let options = ServerOptions { grace: SHORT, body: LONG, ..ServerOptions::default() };
    let server = TestServer::start_with("", options).await;
    let mut slow = TcpStream::connect(server.addresses.public).await.unwrap();
    let head =
        "POST /webhooks/intercom HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n";
    slow.write_all(head.as_bytes()).await.unwrap();
    slow.read_exact(&mut [0; 25]).await.unwrap();
    server.shutdown.cancel();
    tokio::time::timeout(LONG, server.task).await.unwrap().unwrap();
}

#[tokio::test]
async fn an_address_that_is_taken_is_named_with_its_setting() {
    let server = TestServer::start().await;
    let settings = format!("  admin_listen: {}\n", server.addresses.public);
    let config = config(server.folder.path(), SECRET, &settings);
    let token = SecretString::from(TOKEN);
    let refused = Server::bind(&config, server.engine.clone(), token).await.unwrap_err();
    let start = format!(
        "cannot listen on {}, which `server.admin_listen` names: ",
        server.addresses.public
    );
    assert!(refused.to_string().starts_with(&start), "{refused}");
    let nobody = Server::bind(&config, server.engine.clone(), SecretString::from("")).await;
    assert!(matches!(nobody, Err(crate::server::ServerError::NoToken)));
}
