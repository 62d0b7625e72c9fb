//! `POST auth/jwt/config`: where the keys of a JWT mount come from, and what it binds for all of its roles.

use super::server::Server;
use super::settings::{Settings, SettingsError, refused};
use crate::json::Value;
use crate::jwt::PublicKey;
use crate::jwt::jwk::JwkSet;
use crate::jwt::signature::Algorithm;

/// Whether settings were written by an operator, and are held to what a server would let be written, or read from a server,
/// which keeps secrets back and has let pass what it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// From the configuration file: the body of a `POST`.
    Written,
    /// From a live mount: the `data` of a `GET`.
    Read,
}

/// A URL to fetch keys from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// `jwks_url`, or `oidc_discovery_url`.
    pub url: String,
    /// PEM of the CA that has signed its certificate; empty for the system's.
    pub ca_pem: String,
}

/// Where the keys come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// `jwt_validation_pubkeys`: they are all there is.
    Static(Vec<PublicKey>),
    /// `jwks_url`
    JwksUrl(Endpoint),
    /// `oidc_discovery_url`. The document's `issuer` has to be this very URL, slash and all.
    Discovery(Endpoint),
    /// `jwks_pairs` (Vault)
    JwksPairs(Vec<Endpoint>),
    /// A `provider_config` that finds its keys by itself (OpenBao); its name.
    Provider(String),
}

/// What is known of the keys that a [`KeySource`] leads to. Static keys need none of this.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Keys {
    /// Fetched, and fit for use; of `jwks_pairs` all sets, in their order.
    Sets(Vec<JwkSet>),
    /// Fetched, and such as the server cannot use either.
    Unusable,
    /// Not fetched: nobody can tell.
    #[default]
    Unavailable,
}

/// A checked config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtConfig {
    /// Where the keys come from.
    pub keys: KeySource,
    /// `bound_issuer`; empty if any issuer will do.
    pub bound_issuer: String,
    /// `jwt_supported_algs`; empty means all.
    pub algorithms: Vec<Algorithm>,
    /// `default_role` in small letters; empty if there is none.
    pub default_role: String,
    /// The mount is set up for the browser flow, with a client of its own.
    pub oidc_client: bool,
}

const WELL_KNOWN: &str = ".well-known/openid-configuration";

impl JwtConfig {
    /// Reads the fields of a config.
    ///
    /// # Errors
    /// What the server would refuse, in its words.
    pub fn parse(fields: &Value, server: Server, origin: Origin) -> Result<Self, SettingsError> {
        let settings = Settings::new(fields)?;
        let client = (settings.text("oidc_client_id")?, settings.text("oidc_client_secret")?);
        let keys = key_source(settings, server)?;
        let bound_issuer = settings.text("bound_issuer")?;
        if origin == Origin::Written {
            check_browser_fields(settings, server)?;
            if client.0.is_empty() != client.1.is_empty() {
                return refused(
                    "oidc_client_id",
                    "both 'oidc_client_id' and 'oidc_client_secret' must be set for OIDC",
                );
            }
            if !client.0.is_empty() && !matches!(keys, KeySource::Discovery(_)) {
                return refused("oidc_client_id", "'oidc_discovery_url' must be set for OIDC");
            }
            if matches!(keys, KeySource::JwksPairs(_)) {
                if !settings.text("jwks_ca_pem")?.is_empty() {
                    let reason = "CA PEMs must be provided as part of the 'jwks_pairs' when using multiple JWKS URLs";
                    return refused("jwks_ca_pem", reason);
                }
                if !bound_issuer.is_empty() {
                    return refused("bound_issuer", "Bound issuer is not supported for use with 'jwks_pairs'");
                }
            }
            if let KeySource::Discovery(endpoint) = &keys
                && server.is_openbao()
                && endpoint.url.contains(WELL_KNOWN)
            {
                let reason = format!("error checking oidc discovery URL: it must not contain {WELL_KNOWN}");
                return refused("oidc_discovery_url", reason);
            }
        }
        let mut algorithms = Vec::new();
        for name in settings.list("jwt_supported_algs")? {
            match Algorithm::from_name(&name) {
                Some(algorithm) => algorithms.push(algorithm),
                None => {
                    let reason = format!("invalid jwt_supported_algs: unsupported signing algorithm {name:?}");
                    return refused("jwt_supported_algs", reason);
                }
            }
        }
        let default_role = settings.text("default_role")?.to_lowercase();
        Ok(Self { keys, bound_issuer, algorithms, default_role, oidc_client: !client.0.is_empty() })
    }
}

/// Fields of the browser flow, which a login with a token has no use for; yet they have their types.
fn check_browser_fields(settings: Settings<'_>, server: Server) -> Result<(), SettingsError> {
    settings.boolean("namespace_in_state")?;
    let has_url = |field| settings.get(field).is_some_and(|url| *url != Value::Text(String::new()));
    for (field, url) in [("jwks_ca_pem", "jwks_url"), ("oidc_discovery_ca_pem", "oidc_discovery_url")] {
        let pem = settings.text(field)?;
        if has_url(url) && !pem.is_empty() && !pem.contains("-----BEGIN CERTIFICATE-----") {
            return refused(field, format!("error checking {field}: no certificate in it"));
        }
    }
    let custom = settings.mapping("provider_config")?;
    match custom.iter().find(|(name, _)| name == "provider").map(|(_, name)| name.as_text()) {
        None if custom.is_empty() => {}
        None | Some(None) => {
            let reason = "invalid provider_config: 'provider' field not found in provider_config";
            return refused("provider_config", reason);
        }
        Some(Some("azure" | "gsuite" | "secureauth" | "ibmisam")) => {}
        Some(Some("kubernetes")) if server.is_openbao() => {}
        Some(Some(name)) => {
            let reason = format!("invalid provider_config: provider {name:?} not found in custom providers");
            return refused("provider_config", reason);
        }
    }
    if server.is_openbao() {
        settings.boolean("skip_jwks_validation")?;
        settings.list("override_allowed_server_names")?;
    }
    let types = settings.list("oidc_response_types")?;
    if types.iter().any(|name| !["code", "id_token"].contains(&&**name)) {
        let reason = format!("invalid response_types {types:?}. 'code' and 'id_token' are allowed");
        return refused("oidc_response_types", reason);
    }
    let mode = settings.text("oidc_response_mode")?;
    if !["", "query", "form_post"].contains(&&*mode) {
        return refused("oidc_response_mode", format!("invalid response_mode: {mode:?}"));
    }
    if mode != "form_post" && types.iter().any(|name| name == "id_token") {
        let reason = "query response_mode may not be used with an id_token response_type";
        return refused("oidc_response_types", reason);
    }
    Ok(())
}

fn key_source(settings: Settings<'_>, server: Server) -> Result<KeySource, SettingsError> {
    let mut sources = Vec::new();
    let discovery = settings.text("oidc_discovery_url")?;
    if !discovery.is_empty() {
        let ca_pem = settings.text("oidc_discovery_ca_pem")?;
        sources.push(KeySource::Discovery(Endpoint { url: discovery, ca_pem }));
    }
    let url = settings.text("jwks_url")?;
    if !url.is_empty() {
        sources.push(KeySource::JwksUrl(Endpoint { url, ca_pem: settings.text("jwks_ca_pem")? }));
    }
    let pem = settings.list("jwt_validation_pubkeys")?;
    if !pem.is_empty() {
        sources.push(KeySource::Static(public_keys("jwt_validation_pubkeys", &pem)?));
    }
    // OpenBao takes this field for one that it does not know.
    if !server.is_openbao() {
        let pairs = jwks_pairs(settings)?;
        if !pairs.is_empty() {
            sources.push(KeySource::JwksPairs(pairs));
        }
    } else if let Some(provider) = settings.get("provider_config").and_then(|config| config.member("provider"))
        && let Some("kubernetes") = provider.as_text()
    {
        sources.push(KeySource::Provider("kubernetes".to_owned()));
    }
    match (sources.pop(), sources.is_empty(), server.is_openbao()) {
        (Some(source), true, _) => Ok(source),
        (.., true) => refused(
            "jwt_validation_pubkeys",
            "exactly one of 'jwt_validation_pubkeys', 'jwks_url', 'jwks_pairs', 'oidc_discovery_url', or 'provider_config' must be set",
        ),
        (.., false) => refused(
            "jwt_validation_pubkeys",
            "exactly one of 'jwt_validation_pubkeys', 'jwks_url', 'jwks_pairs' or 'oidc_discovery_url' must be set",
        ),
    }
}

/// One key an entry.
pub(super) fn public_keys(field: &'static str, entries: &[String]) -> Result<Vec<PublicKey>, SettingsError> {
    let mut keys = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        match PublicKey::from_pem(entry) {
            Ok(key) => keys.push(key),
            Err(fault) => return refused(field, format!("error parsing public key {}: {fault}", index + 1)),
        }
    }
    Ok(keys)
}

fn jwks_pairs(settings: Settings<'_>) -> Result<Vec<Endpoint>, SettingsError> {
    let wrong = || SettingsError::WrongType { field: "jwks_pairs", expected: "a list of jwks_url with jwks_ca_pem" };
    let pairs = match settings.get("jwks_pairs") {
        None => return Ok(Vec::new()),
        Some(Value::List(pairs)) => pairs,
        Some(_) => return Err(wrong()),
    };
    let endpoint = |pair: &Value| {
        let text = |name| match pair.member(name) {
            None | Some(Value::Null) => Some(String::new()),
            Some(value) => value.as_text().map(str::to_owned),
        };
        let url = text("jwks_url").filter(|url| !url.is_empty())?;
        Some(Endpoint { url, ca_pem: text("jwks_ca_pem")? })
    };
    pairs.iter().map(endpoint).collect::<Option<_>>().ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Duplicates;
    use crate::login::Flavour;

    fn config(more: &str, flavour: Flavour) -> Result<JwtConfig, SettingsError> {
        let json = format!(r#"{{"jwks_url":"https://k.test/"{more}}}"#);
        let fields = Value::parse(json.as_bytes(), Duplicates::LastWins).unwrap();
        JwtConfig::parse(&fields, Server::newest(flavour), Origin::Written)
    }

    /// Each as a real OpenBao took it, or refused it.
    #[test]
    fn what_the_server_would_refuse_is_refused_in_its_words() {
        for (more, field, words) in [
            (r#","jwks_ca_pem":"x""#, "jwks_ca_pem", "error checking jwks_ca_pem"),
            (r#","oidc_discovery_ca_pem":[]"#, "oidc_discovery_ca_pem", "a text"),
            (r#","oidc_response_mode":"x""#, "oidc_response_mode", "invalid response_mode: \"x\""),
            (r#","oidc_response_types":"x""#, "oidc_response_types", "'code' and 'id_token' are allowed"),
            (r#","oidc_response_types":["id_token"]"#, "oidc_response_types", "query response_mode may not be used"),
            (r#","provider_config":"x""#, "provider_config", "a mapping"),
            (r#","provider_config":{"a":1}"#, "provider_config", "'provider' field not found"),
            (r#","provider_config":{"provider":"x"}"#, "provider_config", "provider \"x\" not found"),
            (r#","provider_config":{"provider":"kubernetes"}"#, "jwt_validation_pubkeys", "exactly one of"),
            (r#","skip_jwks_validation":"x""#, "skip_jwks_validation", "true or false"),
            (r#","namespace_in_state":2"#, "namespace_in_state", "true or false"),
            (r#","jwt_supported_algs":["none"]"#, "jwt_supported_algs", "unsupported signing algorithm \"none\""),
        ] {
            let error = config(more, Flavour::OpenBao).unwrap_err();
            assert!(error.field() == field && error.to_string().contains(words), "{more}: {error}");
        }
        for more in [
            r#","jwt_supported_algs":{}"#,
            r#","provider_config":{}"#,
            r#","provider_config":{"provider":"azure"}"#,
            r#","oidc_response_types":"id_token","oidc_response_mode":"form_post""#,
            r#","unknown":[]"#,
        ] {
            assert!(config(more, Flavour::OpenBao).is_ok(), "{more}");
        }
        assert!(config(r#","skip_jwks_validation":"x""#, Flavour::Vault).is_ok());
    }
}
