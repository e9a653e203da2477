//! Where old clients put their token. Source: ironmq-v3.md section 1.

use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::call::Query;

/// The token: `Authorization: OAuth TOKEN` (or `Bearer`, in any case), else `?oauth=TOKEN`.
pub(super) fn bearer(headers: &HeaderMap, query: &Query) -> Option<String> {
    let header = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let in_header = header.and_then(|text| {
        let (scheme, token) = text.trim().split_once(' ')?;
        let known = scheme.eq_ignore_ascii_case("oauth") || scheme.eq_ignore_ascii_case("bearer");
        known.then(|| token.trim().to_owned())
    });
    in_header.or_else(|| query.get("oauth").map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(header: Option<&str>, query: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        if let Some(header) = header {
            headers.insert(AUTHORIZATION, header.parse().expect("a header"));
        }
        bearer(&headers, &Query::parse(query).expect("UTF-8"))
    }

    #[test]
    fn a_token_is_found_in_the_header_and_in_the_query() {
        assert_eq!(found(Some("OAuth abc"), "").as_deref(), Some("abc"));
        assert_eq!(found(Some("oauth abc"), "").as_deref(), Some("abc"));
        assert_eq!(found(Some("BEARER  abc "), "oauth=x").as_deref(), Some("abc"));
        assert_eq!(found(None, "n=1&oauth=a%2Bc").as_deref(), Some("a+c"));
        assert_eq!(found(Some("Basic abc"), "oauth=x").as_deref(), Some("x"));
        assert_eq!(found(Some("abc"), ""), None);
        assert_eq!(found(None, "oauth="), None);
    }
}
