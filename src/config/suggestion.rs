//! "Did you mean": the nearest of the words that would have been right.

/// The candidate that `word` is most likely a misspelling of, if any is near enough.
pub(super) fn nearest<'a>(word: &str, candidates: &[&'a str]) -> Option<&'a str> {
    let word = word.to_lowercase();
    let tolerance = (word.chars().count() / 3).max(1);
    let misspelt = candidates
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word, candidate), *candidate))
        .filter(|(distance, _)| *distance <= tolerance)
        .min_by(|(a, left), (b, right)| {
            let likeness = |candidate| strsim::jaro_winkler(&word, candidate);
            a.cmp(b).then(likeness(right).total_cmp(&likeness(left)))
        });
    misspelt.map(|(_, candidate)| candidate).or_else(|| shortened(&word, candidates))
}

/// The only candidate of which `word` is a part, such as `token` of `admin_token`.
fn shortened<'a>(word: &str, candidates: &[&'a str]) -> Option<&'a str> {
    let is_part = |whole: &str, part: &str| whole.split('_').any(|piece| piece == part);
    let mut found =
        candidates.iter().filter(|candidate| is_part(candidate, word) || is_part(word, candidate));
    match (found.next(), found.next()) {
        (Some(only), None) => Some(only),
        _ => None,
    }
}

/// The words in backticks, with commas.
pub(super) fn enumerate<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let quoted: Vec<String> = words.into_iter().map(|word| format!("`{word}`")).collect();
    quoted.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_what_is_near_and_nothing_else() {
        let keys = ["listen", "admin_listen", "admin_token", "public_url", "dir"];
        fn case(word: &str, keys: &[&str], expected: Option<&str>) {
            assert_eq!(nearest(word, keys), expected, "{word}");
        }
        case("lisen", &keys, Some("listen"));
        case("LISTEN", &keys, Some("listen"));
        case("admn_tokn", &keys, Some("admin_token"));
        case("token", &keys, Some("admin_token"));
        case("url", &keys, Some("public_url"));
        case("admin", &keys, None);
        case("port", &keys, None);
        case("abc", &keys, None);
    }
}
