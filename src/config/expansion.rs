//! `~` and `$VAR` in paths, as the reference has them: variables first (Go's `os.ExpandEnv`), then a leading `~`.
//!
//! Where Go puts nothing in the place of a variable that is not set, we refuse: `$KUBE/config` must not become `/config`.

use std::ffi::OsString;
use std::fmt;

/// The value of an environment variable. [`environment`] is that of the process.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// The environment of the process. Without `HOME`, the home folder is that of the user's account, and without `HOSTNAME`, the
/// name is that of the host: in a pod, the pod's.
#[must_use]
pub fn environment(name: &str) -> Option<OsString> {
    match name {
        "HOME" => home::home_dir().map(Into::into),
        "HOSTNAME" => std::env::var_os(name).or_else(|| {
            let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
            Some(name.trim_end().into())
        }),
        _ => std::env::var_os(name),
    }
}

/// Why a path cannot be expanded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExpansionError {
    /// A variable that the environment does not have.
    NotSet {
        /// Without its `$`.
        variable: String,
    },
    /// The value of a variable is no text.
    NotUtf8 {
        /// Without its `$`.
        variable: String,
    },
    /// `${` without a name and `}` after it.
    Braces,
    /// `~` where `HOME` is missing or empty.
    NoHome,
    /// `~name`: the home of another user.
    OtherHome,
}

impl fmt::Display for ExpansionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSet { variable } => {
                write!(f, "a path whose variables are set (the environment has no {variable}; a plain $ is written $$)")
            }
            Self::NotUtf8 { variable } => write!(f, "a path of UTF-8 text (the value of {variable} is none)"),
            Self::Braces => f.write_str("a path with variables as $NAME or ${NAME} (a plain $ is written $$)"),
            Self::NoHome => f.write_str("a path that needs no home folder (HOME is not set), or HOME to be set"),
            Self::OtherHome => {
                f.write_str("a path with ~ alone or ~/ in front (the homes of other users are not looked up)")
            }
        }
    }
}

impl std::error::Error for ExpansionError {}

/// Expands `$NAME`, `${NAME}` and `$$` (a plain `$`) anywhere, then `~` or `~/` in front. A `$` before anything that
/// cannot begin a name stays. What a variable brings is not expanded again, but for a leading `~`.
///
/// # Errors
/// What the environment lacks, or what is not understood.
pub fn expand(text: &str, lookup: Lookup<'_>) -> Result<String, ExpansionError> {
    let mut path = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        path.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            path.push('$');
            rest = after;
        } else if let Some(inner) = after.strip_prefix('{') {
            let (name, after) = inner.split_once('}').ok_or(ExpansionError::Braces)?;
            if name.is_empty() || !name.bytes().all(in_name) {
                return Err(ExpansionError::Braces);
            }
            path.push_str(&value(name, lookup)?);
            rest = after;
        } else {
            let end = after.bytes().position(|byte| !in_name(byte)).unwrap_or(after.len());
            let (name, after) = after.split_at(end);
            if name.is_empty() {
                path.push('$');
            } else {
                path.push_str(&value(name, lookup)?);
            }
            rest = after;
        }
    }
    path.push_str(rest);
    match path.strip_prefix('~') {
        None => Ok(path),
        Some(below) if below.is_empty() || below.starts_with('/') => {
            let home = lookup("HOME").filter(|home| !home.is_empty()).ok_or(ExpansionError::NoHome)?;
            let home = home.into_string().map_err(|_| ExpansionError::NotUtf8 { variable: "HOME".to_owned() })?;
            Ok(home + below)
        }
        Some(_) => Err(ExpansionError::OtherHome),
    }
}

fn in_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn value(name: &str, lookup: Lookup<'_>) -> Result<String, ExpansionError> {
    let value = lookup(name).ok_or_else(|| ExpansionError::NotSet { variable: name.to_owned() })?;
    value.into_string().map_err(|_| ExpansionError::NotUtf8 { variable: name.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(name: &str) -> Option<OsString> {
        Some(match name {
            "HOME" => "/home/me".into(),
            "A" => "alpha".into(),
            "EMPTY" => "".into(),
            "TILDE" => "~/x".into(),
            "NESTED" => "$A".into(),
            #[cfg(unix)]
            "BYTES" => std::os::unix::ffi::OsStringExt::from_vec(vec![0xff]),
            _ => return None,
        })
    }

    #[test]
    fn what_is_expanded() {
        for (text, path) in [
            ("/etc/kubeconfig", "/etc/kubeconfig"),
            ("~", "/home/me"),
            ("~/.kube/config", "/home/me/.kube/config"),
            ("$HOME/.kube", "/home/me/.kube"),
            ("${A}b/$A-$A", "alphab/alpha-alpha"),
            ("$EMPTY", ""),
            ("$TILDE", "/home/me/x"),
            ("$NESTED", "$A"),
            ("/a$$A/$/b$", "/a$A/$/b$"),
            ("a~b", "a~b"),
            ("", ""),
        ] {
            assert_eq!(expand(text, &lookup).as_deref(), Ok(path), "{text}");
        }
    }

    #[test]
    fn what_is_refused() {
        let not_set = |name: &str| ExpansionError::NotSet { variable: name.to_owned() };
        for (text, error) in [
            ("$NONE/x", not_set("NONE")),
            ("${NONE}", not_set("NONE")),
            ("$Ab", not_set("Ab")),
            ("$1", not_set("1")),
            ("${", ExpansionError::Braces),
            ("${}", ExpansionError::Braces),
            ("${A", ExpansionError::Braces),
            ("${A:-b}", ExpansionError::Braces),
            ("~root/x", ExpansionError::OtherHome),
            ("$BYTES", ExpansionError::NotUtf8 { variable: "BYTES".to_owned() }),
        ] {
            assert_eq!(expand(text, &lookup), Err(error), "{text}");
        }
    }

    #[test]
    fn an_empty_home_is_none() {
        for home in [None, Some(OsString::new())] {
            assert_eq!(expand("~/x", &|_| home.clone()), Err(ExpansionError::NoHome));
        }
    }
}
