//! `POST auth/kubernetes/config`.

use crate::json::Value;
use crate::jwt::PublicKey;
use crate::login::jwt_config::{Origin, public_keys};
use crate::login::settings::{Settings, SettingsError, refused};

/// A checked config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KubernetesConfig {
    /// `pem_keys`: RSA and EC. Without any, the signature is left to the TokenReview.
    pub pem_keys: Vec<PublicKey>,
    /// `issuer`, where `disable_iss_validation` is false: empty means any.
    pub bound_issuer: String,
    /// Whether the mount has a `token_reviewer_jwt`, which namespace selectors need. Its text is not kept. An operator who writes no
    /// credential into a configuration file may say `token_reviewer_jwt_set: true`, as a server's answer does.
    pub has_reviewer: bool,
}

impl KubernetesConfig {
    /// Reads the fields of a config.
    ///
    /// # Errors
    /// What the server would refuse.
    pub fn parse(fields: &Value, origin: Origin) -> Result<Self, SettingsError> {
        let settings = Settings::new(fields)?;
        let pem_keys = public_keys("pem_keys", &settings.list("pem_keys")?)?;
        if pem_keys.iter().any(|key| matches!(key, PublicKey::Ed25519(_))) {
            return refused("pem_keys", "data does not contain any valid RSA or ECDSA public keys");
        }
        if origin == Origin::Written {
            check_connection(settings)?;
        }
        let checks_issuer = settings.boolean("disable_iss_validation")? == Some(false);
        let issuer = settings.text("issuer")?;
        // Servers that do not tell are taken to have one.
        let told = settings.boolean("token_reviewer_jwt_set")?;
        let has_reviewer = told.unwrap_or(origin == Origin::Read) || !settings.text("token_reviewer_jwt")?.is_empty();
        Ok(Self { pem_keys, bound_issuer: if checks_issuer { issuer } else { String::new() }, has_reviewer })
    }
}

/// How the server gets to its cluster. None of it is needed here, so that all of it may be left out; what is there has to be right.
fn check_connection(settings: Settings<'_>) -> Result<(), SettingsError> {
    settings.boolean("use_annotations_as_alias_metadata")?;
    let (host, ca) = (settings.text("kubernetes_host")?, settings.text("kubernetes_ca_cert")?);
    if settings.names("kubernetes_host") && host.is_empty() {
        return refused("kubernetes_host", "no host provided");
    }
    if settings.boolean("disable_local_ca_jwt")? == Some(true) && ca.is_empty() && !host.is_empty() {
        return refused("kubernetes_ca_cert", "kubernetes_ca_cert must be given when disable_local_ca_jwt is true");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Duplicates;

    /// Each as a real OpenBao took it, or refused it; where to find the cluster may be left out here.
    #[test]
    fn what_the_server_would_refuse_is_refused_in_its_words() {
        let parse = |json: &str| {
            let fields = Value::parse(json.as_bytes(), Duplicates::LastWins).unwrap();
            KubernetesConfig::parse(&fields, Origin::Written)
        };
        for (json, words) in [
            (r#"{"kubernetes_host":""}"#, "no host provided"),
            (r#"{"kubernetes_host":"https://k","disable_local_ca_jwt":true}"#, "kubernetes_ca_cert must be given"),
            (r#"{"disable_iss_validation":"x"}"#, "true or false"),
            (r#"{"pem_keys":["x"]}"#, "does not contain any"),
        ] {
            let error = parse(json).unwrap_err();
            assert!(error.to_string().contains(words), "{json}: {error}");
        }
        let bound = |json: &str| parse(json).unwrap().bound_issuer;
        assert_eq!(bound(r#"{"issuer":"i"}"#), "", "issuer validation is off unless it is said");
        assert_eq!(bound(r#"{"issuer":"i","disable_iss_validation":true}"#), "");
        assert_eq!(bound(r#"{"issuer":"i","disable_iss_validation":false}"#), "i");
        assert_eq!(bound(r#"{"disable_iss_validation":false}"#), "");
    }
}
