//! A request as the routes see it: decoded path, decoded query, typed body.

use bytes::Bytes;
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::form_urlencoded;

use super::reply::Refusal;

/// A request that was read to its end.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: String,
    /// The path as it was sent.
    pub(super) path: String,
    /// What follows the `?`, or an empty string.
    pub(super) query: String,
    pub(super) body: Bytes,
}

impl Request {
    /// The method and path, for the list of violations.
    pub(super) fn label(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// The parts of the path, decoded one by one. A bare `+` is a space, as in Brevo, so that an
    /// address with a tag is not found unless its `+` is encoded (facts: Brevo section 13).
    pub(super) fn segments(&self) -> Vec<String> {
        let decode = |part: &str| {
            percent_decode_str(&part.replace('+', " ")).decode_utf8_lossy().into_owned()
        };
        self.path.split('/').filter(|part| !part.is_empty()).map(decode).collect()
    }

    /// The body as a JSON object of a given shape.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, Refusal> {
        let value: Value = serde_json::from_slice(&self.body)
            .map_err(|_| Refusal::new(400, "bad_request", "Input must be a valid JSON object"))?;
        if !value.is_object() {
            return Err(Refusal::new(400, "bad_request", "Input must be a valid JSON object"));
        }
        serde_json::from_value(value).map_err(|error| Refusal::invalid(error.to_string()))
    }

    /// The last value of a query parameter.
    pub(super) fn parameter(&self, name: &str) -> Option<String> {
        self.parameters(name).pop()
    }

    /// All values of a query parameter.
    pub(super) fn texts(&self, name: &str) -> Vec<String> {
        self.parameters(name)
    }

    /// A list of numbers in the query: repeated, separated by commas, or both.
    pub(super) fn numbers(&self, name: &str) -> Result<Vec<i64>, Refusal> {
        self.parameters(name)
            .iter()
            .flat_map(|text| text.split(','))
            .map(|part| part.trim().parse())
            .collect::<Result<_, _>>()
            .map_err(|_| Refusal::invalid(format!("{name} should be a list of integers")))
    }

    /// `limit`, `offset` and `sort`.
    pub(super) fn page(&self, default: usize, most: usize) -> Result<Page, Refusal> {
        let number = |name: &str, default: usize| match self.parameter(name) {
            None => Ok(default),
            Some(text) => text
                .parse::<usize>()
                .map_err(|_| Refusal::invalid(format!("{name} should be a positive integer"))),
        };
        let (limit, offset) = (number("limit", default)?, number("offset", 0)?);
        if limit > most {
            return Err(Refusal::out_of_range(format!("Limit exceeds max value {most}")));
        }
        let order = match self.parameter("sort").as_deref() {
            None | Some("desc") => Order::Descending,
            Some("asc") => Order::Ascending,
            Some(_) => return Err(Refusal::invalid("sort should be asc or desc")),
        };
        Ok(Page { limit, offset, order })
    }

    /// A time in the query, in milliseconds since 1970. A time without an offset is refused.
    pub(super) fn instant(&self, name: &str) -> Result<Option<i64>, Refusal> {
        let Some(text) = self.parameter(name) else {
            return Ok(None);
        };
        match text.parse::<jiff::Timestamp>() {
            Ok(instant) => Ok(Some(instant.as_millisecond())),
            Err(_) => Err(Refusal::invalid(format!(
                "{name} should be a UTC date-time (YYYY-MM-DDTHH:mm:ss.SSSZ)"
            ))),
        }
    }

    /// All names and values of the query, in order.
    pub(super) fn pairs(&self) -> Vec<(String, String)> {
        form_urlencoded::parse(self.query.as_bytes()).into_owned().collect()
    }

    fn parameters(&self, name: &str) -> Vec<String> {
        form_urlencoded::parse(self.query.as_bytes())
            .filter(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
            .collect()
    }
}

/// Which part of a list is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Page {
    limit: usize,
    offset: usize,
    order: Order,
}

/// By creation; Brevo's default is descending, which reshuffles on every insert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Ascending,
    Descending,
}

impl Page {
    /// Takes this page of `all`, which ascends.
    pub(super) fn of<T>(self, all: impl DoubleEndedIterator<Item = T>) -> Vec<T> {
        match self.order {
            Order::Ascending => all.skip(self.offset).take(self.limit).collect(),
            Order::Descending => all.rev().skip(self.offset).take(self.limit).collect(),
        }
    }
}
