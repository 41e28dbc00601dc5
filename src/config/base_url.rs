//! Addresses of services: encrypted, unless they stay on this machine.

use url::{Host, Url};

use super::setting::Setting;

impl Setting for Url {
    fn parse(text: &str) -> Result<Self, String> {
        let help = "write an address such as `https://api.example.com`";
        let mut url = Self::parse(text.trim()).map_err(|_| help.to_owned())?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err("an address must hold no user name and no password".to_owned());
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("an address must end with its path, without `?` and `#`".to_owned());
        }
        let path = url.path().trim_end_matches('/').to_owned();
        url.set_path(&path);
        match url.scheme() {
            "https" => Ok(url),
            "http" if is_loopback(&url) => Ok(url),
            "http" => Err("`http://` is for this machine only: use `https://`".to_owned()),
            _ => Err(help.to_owned()),
        }
    }

    fn may_be_shown(text: &str) -> bool {
        !text.contains(['@', '?'])
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slash_at_the_end_says_nothing() {
        let url = <Url as Setting>::parse("https://api.example.com/v3/").unwrap();
        assert_eq!(url.as_str(), "https://api.example.com/v3");
    }

    #[test]
    fn plain_http_stays_on_this_machine() {
        fn case(text: &str, is_good: bool) {
            assert_eq!(<Url as Setting>::parse(text).is_ok(), is_good, "{text}");
        }
        case("https://api.example.com/v3", true);
        case("http://127.0.0.1:9000", true);
        case("http://127.9.9.9", true);
        case("http://[::1]:9000/v3", true);
        case("http://localhost:9000", true);
        case("http://api.example.com", false);
        case("http://localhost.example.com", false);
        case("http://127.0.0.1.example.com", false);
        case("http://10.0.0.1", false);
        case("https://user:pass@example.com", false);
        case("https://user@example.com", false);
        case("https://example.com/?key=x", false);
        case("ftp://127.0.0.1", false);
        case("api.example.com", false);
        case("", false);
    }
}
