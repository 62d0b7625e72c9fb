//! The key `renewals`.

use super::reader::{Fault, Fields, Reader};
use super::{Config, Expected, Lookup, duration, file, places};
use crate::http_client::{BaseUrl, Method};
use crate::kubernetes::{check_label_value, check_qualified};
use crate::observation::cluster_label;
use crate::renewal::{
    BeforeExpiry, CredentialsPlan, Place, Policy, Renewal, RequestPlan, TargetPlan, Template, TemplateError,
};
use std::path::PathBuf;
use std::time::Duration;

const KEYS: &[&str] =
    &["secret", "file", "create", "before_expiry", "credentials", "credentials_files", "request", "token", "retry"];
const SECRET_KEYS: &[&str] = &["context", "namespace", "name", "key"];
const CREATE_KEYS: &[&str] = &["labels"];
const CREDENTIALS_KEYS: &[&str] = &["context", "namespace", "name"];
const REQUEST_KEYS: &[&str] = &["method", "url", "headers", "body", "ca_file", "insecure_skip_verify", "timeout"];
const RETRY_KEYS: &[&str] = &["first", "most"];

/// HTTP itself needs them.
const HEADERS_NOT_OURS: [&str; 9] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "accept-encoding",
    "expect",
    "te",
    "trailer",
    "upgrade",
];

const DEFAULT_BEFORE_EXPIRY: BeforeExpiry = BeforeExpiry::Share(2_000);
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
const DEFAULT_RETRY: (i64, i64) = (10, 600);

pub(super) fn renewals(value: &Reader<'_>, config: &Config, lookup: Lookup<'_>) -> Result<Vec<Renewal>, Fault> {
    let mut renewals: Vec<Renewal> = Vec::new();
    for item in value.list("renewals, each with `secret` or `file`, `request` and `token`")? {
        let renewal = renewal(&item, config, lookup)?;
        if renewals.iter().any(|known| known.target.is_same_place(&renewal.target)) {
            return Err(item.refuse(Expected::new("each token once (another renewal writes the same one)")));
        }
        renewals.push(renewal);
    }
    Ok(renewals)
}

fn renewal(item: &Reader<'_>, config: &Config, lookup: Lookup<'_>) -> Result<Renewal, Fault> {
    let fields = item.fields(KEYS)?;
    let target = target(item, &fields, config, lookup)?;
    let context = match &target {
        TargetPlan::Secret { context, .. } => context.as_deref(),
        TargetPlan::File(_) => None,
    };
    let is_told = !config.contexts.is_empty();
    let cluster_label = cluster_label(is_told.then(|| context.unwrap_or_default()));
    let credentials = credentials(&fields, context, config, lookup)?;
    let request = request(item, &fields, &credentials, lookup)?;
    let before_expiry = match fields.get("before_expiry") {
        Some(value) => value.text("a duration such as 1h, or a share such as 20%", before_expiry)?,
        None => DEFAULT_BEFORE_EXPIRY,
    };
    let (first, most) = match fields.get("retry") {
        Some(value) => retry(value)?,
        None => DEFAULT_RETRY,
    };
    let Some(token) = fields.get("token") else {
        let expected = "`token`, a JSON Pointer (RFC 6901) to the token in the answer, such as /token";
        return Err(item.refuse(Expected::new(expected)));
    };
    let token = token.text("a JSON Pointer", file::pointer)?;
    Ok(Renewal { target, policy: Policy { before_expiry, first, most }, credentials, request, token, cluster_label })
}

fn target(item: &Reader<'_>, fields: &Fields<'_>, config: &Config, lookup: Lookup<'_>) -> Result<TargetPlan, Fault> {
    let create = fields.get("create").map(labels).transpose()?;
    match (fields.get("secret"), fields.get("file")) {
        (Some(secret), None) => {
            check_cluster(secret, config)?;
            let fields = secret.fields(SECRET_KEYS)?;
            let (Some(namespace), Some(name), Some(key)) =
                (fields.get("namespace"), fields.get("name"), fields.get("key"))
            else {
                return Err(secret.refuse(Expected::new("the `namespace`, the `name` and the data `key` of a Secret")));
            };
            Ok(TargetPlan::Secret {
                context: places::context_of_secret(secret, fields.get("context"), config)?,
                namespace: namespace.text("the name of a namespace", places::namespace_of_secret)?,
                name: name.text("the name of a Secret", places::secret_name)?,
                key: key.text("a data key", places::data_key)?,
                create,
            })
        }
        (None, Some(file)) => {
            if let Some(create) = fields.get("create") {
                return Err(create.refuse(Expected::new("`secret` beside it (a file is always created)")));
            }
            let path = path(file, lookup)?;
            match path.file_name() {
                Some(_) => Ok(TargetPlan::File(path)),
                None => Err(file.refuse(Expected::new("the path of a file"))),
            }
        }
        _ => Err(item.refuse(Expected::new("either `secret` or `file`: where the token is kept"))),
    }
}

fn check_cluster(value: &Reader<'_>, config: &Config) -> Result<(), Fault> {
    if !config.kubernetes {
        return Err(value.refuse(Expected::new("`file` and `credentials_files`, since `kubernetes` is false")));
    }
    Ok(())
}

fn labels(value: &Reader<'_>) -> Result<Vec<(String, String)>, Fault> {
    let fields = value.fields(CREATE_KEYS)?;
    let Some(labels) = fields.get("labels") else { return Ok(Vec::new()) };
    let mut read = Vec::new();
    for (name, value) in labels.named_values("labels, such as {app: datagate}")? {
        if let Err(rule) = check_qualified(&name) {
            return Err(value.refuse(Expected::new(format!("a label's key such as app.kubernetes.io/name ({rule})"))));
        }
        read.push((name, value.text("a label's value", label_value)?));
    }
    Ok(read)
}

fn label_value(text: &str) -> Result<String, Expected> {
    check_label_value(text).map(|()| text.to_owned()).map_err(|_| {
        Expected::new(
            "a label's value: at most 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends",
        )
    })
}

/// Unless said otherwise, credentials are in the cluster of the token.
fn credentials(
    fields: &Fields<'_>,
    context: Option<&str>,
    config: &Config,
    lookup: Lookup<'_>,
) -> Result<CredentialsPlan, Fault> {
    match (fields.get("credentials"), fields.get("credentials_files")) {
        (None, None) => Ok(CredentialsPlan::None),
        (Some(_), Some(files)) => {
            Err(files.refuse(Expected::new("either `credentials` or `credentials_files`, not both")))
        }
        (Some(secret), None) => {
            check_cluster(secret, config)?;
            let fields = secret.fields(CREDENTIALS_KEYS)?;
            let (Some(namespace), Some(name)) = (fields.get("namespace"), fields.get("name")) else {
                return Err(secret.refuse(Expected::new("the `namespace` and the `name` of a Secret")));
            };
            let context = match (fields.get("context"), context) {
                (None, Some(context)) => Some(context.to_owned()),
                (named, _) => places::context_of_secret(secret, named, config)?,
            };
            Ok(CredentialsPlan::Secret {
                context,
                namespace: namespace.text("the name of a namespace", places::namespace_of_secret)?,
                name: name.text("the name of a Secret", places::secret_name)?,
            })
        }
        (None, Some(files)) => {
            let mut read = Vec::new();
            for (name, value) in files.named_values("variables and files, such as {password: /creds/password}")? {
                if places::data_key(&name).is_err() {
                    let expected = "a variable's name of letters, digits, '-', '_' and '.'";
                    return Err(value.refuse(Expected::new(expected)));
                }
                read.push((name, path(&value, lookup)?));
            }
            Ok(CredentialsPlan::Files(read))
        }
    }
}

fn request(
    item: &Reader<'_>,
    fields: &Fields<'_>,
    credentials: &CredentialsPlan,
    lookup: Lookup<'_>,
) -> Result<RequestPlan, Fault> {
    let Some(request) = fields.get("request") else {
        return Err(item.refuse(Expected::new("`request`: how a token is asked for")));
    };
    let fields = request.fields(REQUEST_KEYS)?;
    let Some(url) = fields.get("url") else {
        return Err(request.refuse(Expected::new("`url`: whom to ask")));
    };
    let origin = url.hidden_text("a URL", origin)?;
    let method = match fields.get("method") {
        Some(value) => value.text("GET, POST or PUT", method)?,
        None => Method::Post,
    };
    let template = |value: &Reader<'_>, place: Place| {
        let template = value.hidden_text("a text", |text| {
            Template::parse(text, place).map_err(|rule| Expected::new(expected_of(place, &rule)))
        })?;
        check_variables(value, &template, credentials)?;
        Ok(template)
    };
    let url = template(url, Place::Url)?;
    let mut headers: Vec<(String, Template)> = Vec::new();
    let mut body_place = Place::Opaque;
    if let Some(value) = fields.get("headers") {
        for (name, value) in value.named_values("headers, such as {Content-Type: application/json}")? {
            check_header_name(&name, &value)?;
            if headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(&name)) {
                return Err(value.refuse(Expected::new("each header once")));
            }
            let template = template(&value, Place::Header)?;
            if name.eq_ignore_ascii_case("content-type") {
                if template.variables().next().is_some() {
                    return Err(value.refuse(Expected::new("a Content-Type without variables")));
                }
                body_place = Place::of_content_type(template.as_written());
            }
            headers.push((name, template));
        }
    }
    let body = fields.get("body").map(|value| template(value, body_place)).transpose()?;
    if let Some(value) = fields.get("body").filter(|_| method == Method::Get) {
        return Err(value.hidden_refuse(Expected::new("no body with the method GET")));
    }
    let ca_file = fields.get("ca_file").map(|value| path(value, lookup)).transpose()?;
    let insecure_skip_verify = fields.get("insecure_skip_verify").map(Reader::boolean).transpose()?.unwrap_or(false);
    let timeout = match fields.get("timeout") {
        Some(value) => value.text("a duration such as 30s", |text| seconds(text, 1, 600))?,
        None => DEFAULT_TIMEOUT,
    };
    let ca_file = ca_file.filter(|path| !path.as_os_str().is_empty());
    Ok(RequestPlan { method, url, origin, headers, body, ca_file, insecure_skip_verify, timeout })
}

fn expected_of(place: Place, rule: &TemplateError) -> String {
    match (place, rule) {
        (Place::Json, _) => format!("a JSON body ({rule})"),
        (Place::Form, _) => format!("a form's body ({rule})"),
        (Place::Header, _) => format!("a header's value ({rule})"),
        (Place::Url, _) => format!("a URL such as https://cpd.example/icp4d-api/v1/authorize ({rule})"),
        (Place::Opaque, TemplateError::VariableIn { .. }) => {
            "a body whose Content-Type (in `headers`) says how variables are escaped: application/json, or \
             application/x-www-form-urlencoded"
                .to_owned()
        }
        (Place::Opaque, _) => format!("a body ({rule})"),
    }
}

/// Where every variable is known by its name, one that is not is a mistake.
fn check_variables(value: &Reader<'_>, template: &Template, credentials: &CredentialsPlan) -> Result<(), Fault> {
    for name in template.variables() {
        let expected = match credentials {
            CredentialsPlan::Secret { .. } => continue,
            CredentialsPlan::Files(files) if files.iter().any(|(known, _)| known == name) => continue,
            CredentialsPlan::Files(_) => format!("a file for ${{{name}}} in `credentials_files`"),
            CredentialsPlan::None => format!("`credentials` or `credentials_files` with a value for ${{{name}}}"),
        };
        return Err(value.hidden_refuse(Expected::new(expected)));
    }
    Ok(())
}

/// RFC 9110, section 5.6.2.
fn check_header_name(name: &str, value: &Reader<'_>) -> Result<(), Fault> {
    let in_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(in_token) {
        return Err(value.hidden_refuse(Expected::new("a header's name such as Content-Type")));
    }
    if HEADERS_NOT_OURS.iter().any(|known| name.eq_ignore_ascii_case(known)) {
        return Err(value.hidden_refuse(Expected::new("no header that HTTP itself sets")));
    }
    Ok(())
}

fn origin(text: &str) -> Result<BaseUrl, Expected> {
    let expected =
        |rule: String| Expected::new(format!("a URL such as https://cpd.example/icp4d-api/v1/authorize ({rule})"));
    let (scheme, rest) = text.split_once("://").ok_or_else(|| expected("it begins with https://".to_owned()))?;
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if host.contains("${") {
        return Err(expected("no variable may stand in a URL's scheme, host or port".to_owned()));
    }
    BaseUrl::parse(&format!("{scheme}://{host}")).map_err(|rule| expected(rule.to_string()))
}

fn method(text: &str) -> Result<Method, Expected> {
    match text {
        "GET" => Ok(Method::Get),
        "POST" => Ok(Method::Post),
        "PUT" => Ok(Method::Put),
        _ => Err(Expected::new("GET, POST or PUT")),
    }
}

/// `20%`, `12.5%`, or a duration.
fn before_expiry(text: &str) -> Result<BeforeExpiry, Expected> {
    let Some(percent) = text.strip_suffix('%') else {
        let expected = || Expected::new("a duration such as 1h, or a share of the token's life such as 20%");
        let seconds = duration::parse(text).map_err(|_| expected())?.as_secs();
        return i64::try_from(seconds)
            .ok()
            .filter(|seconds| *seconds > 0)
            .map(BeforeExpiry::Seconds)
            .ok_or_else(expected);
    };
    let plain = percent.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let share = percent.parse::<f64>().ok().filter(|_| plain).map(|percent| percent * 100.0);
    match share {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // in range
        Some(share) if (1.0..=5_000.0).contains(&share) => Ok(BeforeExpiry::Share(share.round() as u16)),
        _ => Err(Expected::new("a share of the token's life from 0.01% to 50%")),
    }
}

fn retry(value: &Reader<'_>) -> Result<(i64, i64), Fault> {
    let fields = value.fields(RETRY_KEYS)?;
    let read = |name: &str, default: i64| match fields.get(name) {
        Some(value) => {
            let wait = value.text("a duration such as 10s", |text| seconds(text, 1, 86_400))?;
            Ok(i64::try_from(wait.as_secs()).unwrap_or(default))
        }
        None => Ok(default),
    };
    let first = read("first", DEFAULT_RETRY.0)?;
    let most = read("most", DEFAULT_RETRY.1.max(first))?;
    match fields.get("most") {
        Some(value) if most < first => Err(value.refuse(Expected::new("at least as long as `first`"))),
        _ => Ok((first, most)),
    }
}

/// Whole seconds, rounded up.
fn seconds(text: &str, least: u64, most: u64) -> Result<Duration, Expected> {
    let duration = duration::parse(text)?;
    let seconds = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    if !(least..=most).contains(&seconds) || duration.as_secs() < least {
        let [least, most] = [least, most].map(|seconds| duration::written(Duration::from_secs(seconds)));
        return Err(Expected::new(format!("a duration from {least} to {most}")));
    }
    Ok(Duration::from_secs(seconds))
}

fn path(value: &Reader<'_>, lookup: Lookup<'_>) -> Result<PathBuf, Fault> {
    file::path(value, lookup).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_what_was_written() {
        for (text, share) in [("0.29%", 29), ("4.35%", 435), ("12.5%", 1_250), ("0.01%", 1), ("50%", 5_000)] {
            assert_eq!(before_expiry(text), Ok(BeforeExpiry::Share(share)), "{text}");
        }
        for text in ["0.009%", "50.01%", "-1%", "%", "1e1%"] {
            assert!(before_expiry(text).is_err(), "{text}");
        }
    }
}
