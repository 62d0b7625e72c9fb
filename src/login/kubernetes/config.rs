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
        let checks_issuer = settings.boolean("disable_iss_validation")? == Some(false);
        let issuer = settings.text("issuer")?;
        // Servers that do not tell are taken to have one.
        let told = settings.boolean("token_reviewer_jwt_set")?;
        let has_reviewer = told.unwrap_or(origin == Origin::Read) || !settings.text("token_reviewer_jwt")?.is_empty();
        Ok(Self { pem_keys, bound_issuer: if checks_issuer { issuer } else { String::new() }, has_reviewer })
    }
}
