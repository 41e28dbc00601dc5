//! A form of several parts, as far as imports of companies need it.

/// Names and texts of the parts of a form; none: it is no form. The boundary is taken from the first
/// line.
pub(super) fn parts(body: &[u8]) -> Option<Vec<(String, String)>> {
    let text = String::from_utf8_lossy(body);
    let (first, _) = text.split_once("\r\n")?;
    if !first.starts_with("--") || first.len() < 4 {
        return None;
    }
    let mut parts = Vec::new();
    for part in text.split(first).skip(1) {
        let Some((head, content)) = part.split_once("\r\n\r\n") else { continue };
        let name = head.split(';').find_map(|field| field.trim().strip_prefix("name=\""))?;
        let name = name.split('"').next()?;
        parts.push((name.to_owned(), content.strip_suffix("\r\n").unwrap_or(content).to_owned()));
    }
    Some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_taken_apart_and_anything_else_is_none() {
        let body = "--x1\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.csv\"\r\n\
                    Content-Type: text/csv\r\n\r\nname\nAcme\n\r\n--x1\r\nContent-Disposition: form-data; \
                    name=\"mapping\"\r\n\r\n{}\r\n--x1--\r\n";
        let parts = parts(body.as_bytes()).unwrap();
        assert_eq!(
            parts,
            [("file".into(), "name\nAcme\n".into()), ("mapping".into(), "{}".into())]
        );
        assert!(super::parts(b"{}").is_none());
    }
}
