//! Names as Kubernetes checks them (apimachinery, `pkg/util/validation`).

/// A qualified name: `name` or `prefix/name`, the prefix a DNS subdomain. What label and annotation keys are.
///
/// # Errors
/// The rule that it breaks, as "the name …".
pub fn check_qualified(text: &str) -> Result<(), &'static str> {
    let name = match text.split_once('/') {
        Some((prefix, name)) => {
            check_subdomain(prefix)?;
            name
        }
        None => text,
    };
    if name.is_empty() {
        return Err("the name is not empty");
    }
    if name.len() > 63 {
        return Err("the name has at most 63 characters");
    }
    if !is_qualified_part(name) {
        return Err(
            "the name consists of letters, digits, '-', '_' and '.', and begins and ends with a letter or digit",
        );
    }
    Ok(())
}

/// The name of a namespace: a DNS label (RFC 1123).
///
/// # Errors
/// The rule that it breaks, as "the name …".
pub fn check_dns_label(text: &str) -> Result<(), &'static str> {
    if text.is_empty() {
        return Err("the name is not empty");
    }
    if text.len() > 63 {
        return Err("the name has at most 63 characters");
    }
    if !is_dns_label(text) {
        return Err("the name consists of small letters, digits and '-', and begins and ends with a letter or digit");
    }
    Ok(())
}

/// The name of a Secret: a DNS subdomain (RFC 1123).
///
/// # Errors
/// The rule that it breaks, as "the name …".
pub fn check_subdomain_name(text: &str) -> Result<(), &'static str> {
    if text.is_empty() {
        return Err("the name is not empty");
    }
    if text.len() > 253 {
        return Err("the name has at most 253 characters");
    }
    if !text.split('.').all(is_dns_label) {
        return Err(
            "the name consists of small letters, digits, '-' and '.', and each part begins and ends with a letter or digit",
        );
    }
    Ok(())
}

/// The value of a label: like a name, but it may be empty.
///
/// # Errors
/// The rule that it breaks, as "the value …".
pub fn check_label_value(text: &str) -> Result<(), &'static str> {
    if text.len() > 63 {
        return Err("a label's value has at most 63 characters");
    }
    if !text.is_empty() && !is_qualified_part(text) {
        return Err(
            "a label's value consists of letters, digits, '-', '_' and '.', and begins and ends with a letter or digit",
        );
    }
    Ok(())
}

fn is_qualified_part(text: &str) -> bool {
    let alphanumeric = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    alphanumeric(bytes.first())
        && alphanumeric(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

fn check_subdomain(text: &str) -> Result<(), &'static str> {
    if text.is_empty() {
        return Err("the prefix before the '/' is not empty");
    }
    if text.len() > 253 {
        return Err("the prefix before the '/' has at most 253 characters");
    }
    if !text.split('.').all(is_dns_label) {
        return Err("the prefix before the '/' is a DNS name in lower case");
    }
    Ok(())
}

/// Of any length.
fn is_dns_label(text: &str) -> bool {
    let ends = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let bytes = text.as_bytes();
    ends(bytes.first())
        && ends(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn qualified_names() {
        for text in ["a", "A-b_c.9", "example.com/a", "a.b-c.d/E", &"a".repeat(63), &format!("{}/a", "a".repeat(253))] {
            assert_eq!(check_qualified(text), Ok(()), "{text}");
        }
        let (long_name, long_prefix) = ("a".repeat(64), format!("{}/a", "a".repeat(254)));
        for text in [
            "",
            "/",
            "/a",
            "a/",
            "a/b/c",
            "-a",
            "a-",
            ".a",
            "a b",
            "ä",
            "A/b",
            "a..b/c",
            "a_b/c",
            &long_name,
            &long_prefix,
        ] {
            assert!(check_qualified(text).is_err(), "{text}");
        }
    }

    #[test]
    fn names_of_namespaces() {
        for text in ["a", "kube-system", "0", "a--b", &"a".repeat(63)] {
            assert_eq!(check_dns_label(text), Ok(()), "{text}");
        }
        for text in ["", "-", "a-", "-a", "A", "a.b", "a_b", "a*", "a/b", "ä", " a", &"a".repeat(64)] {
            assert!(check_dns_label(text).is_err(), "{text}");
        }
    }

    #[test]
    fn label_values_may_be_empty() {
        for text in ["", "a", "true", "1.2-x_Y"] {
            assert_eq!(check_label_value(text), Ok(()), "{text}");
        }
        for text in ["-", "a-", "a/b", "a b", &"a".repeat(64)] {
            assert!(check_label_value(text).is_err(), "{text}");
        }
    }
}
