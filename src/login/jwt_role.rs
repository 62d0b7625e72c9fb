//! `POST auth/jwt/role/:name`: what a role binds.

use super::bound_claims::BoundClaimsType;
use super::cidr::Cidr;
use super::jwt_config::Origin;
use super::server::Server;
use super::settings::{Settings, SettingsError, refused};
use super::window::Leeways;
use crate::json::Value;

/// A checked role. Fields have the API's names.
#[derive(Clone, Debug, PartialEq)]
pub struct JwtRole {
    /// `role_type: oidc`: for the browser flow only.
    pub oidc: bool,
    /// Any of them, exactly.
    pub bound_audiences: Vec<String>,
    /// Empty if any subject will do.
    pub bound_subject: String,
    /// Name or pointer, and the value or values; sorted.
    pub bound_claims: Vec<(String, Value)>,
    /// How they are compared.
    pub bound_claims_type: BoundClaimsType,
    /// Name or pointer, and metadata key; sorted.
    pub claim_mappings: Vec<(String, String)>,
    /// The claim that names the user.
    pub user_claim: String,
    /// Whether that is a pointer if it begins with a slash.
    pub user_claim_json_pointer: bool,
    /// Empty if none.
    pub groups_claim: String,
    /// The three leeways.
    pub leeways: Leeways,
    pub(super) cidrs: Vec<Cidr>,
    pub(super) templates: Vec<String>,
}

impl JwtRole {
    /// Reads the fields of a role.
    ///
    /// # Errors
    /// What the server would refuse, in its words.
    pub fn parse(fields: &Value, server: Server, origin: Origin) -> Result<Self, SettingsError> {
        let settings = Settings::new(fields)?;
        let role_type = settings.text("role_type")?;
        // A role that is read without a type was written before there were types.
        let oidc = match (&*role_type, origin) {
            ("jwt", _) | ("", Origin::Read) => false,
            ("oidc" | "", _) => true,
            (other, _) => return refused("role_type", format!("invalid 'role_type': {other}")),
        };
        let bound_claims_type = match &*settings.text("bound_claims_type")? {
            "glob" => BoundClaimsType::Glob,
            "string" => BoundClaimsType::String,
            "" if !settings.names("bound_claims_type") || origin == Origin::Read => BoundClaimsType::String,
            other => return refused("bound_claims_type", format!("invalid 'bound_claims_type': {other}")),
        };
        let templated = server.is_openbao() && settings.boolean("token_policies_template_claims")? == Some(true);
        let mut policies = settings.list("token_policies")?;
        if settings.get("token_policies").is_none() {
            policies = settings.list("policies")?;
        }
        let role = Self {
            oidc,
            bound_audiences: settings.list("bound_audiences")?,
            bound_subject: settings.text("bound_subject")?,
            bound_claims: bound_claims(settings, bound_claims_type)?,
            bound_claims_type,
            claim_mappings: settings.pairs("claim_mappings")?,
            user_claim: settings.text("user_claim")?,
            user_claim_json_pointer: settings.boolean("user_claim_json_pointer")?.unwrap_or(false),
            groups_claim: settings.text("groups_claim")?,
            leeways: Leeways {
                expiration: settings.seconds("expiration_leeway")?,
                not_before: settings.seconds("not_before_leeway")?,
                clock_skew: settings.seconds("clock_skew_leeway")?,
            },
            cidrs: Cidr::list(settings)?,
            templates: if templated { policies } else { Vec::new() },
        };
        if origin == Origin::Written {
            role.check(settings, server)?;
        }
        Ok(role)
    }

    /// What several fields break together, in the server's order.
    fn check(&self, settings: Settings<'_>, server: Server) -> Result<(), SettingsError> {
        check_token_fields(settings)?;
        check_browser_fields(settings, server)?;
        if self.templates.iter().any(|policy| policy.matches("{{").count() > policy.matches("}}").count()) {
            return refused("token_policies", "failed to parse template policy: unclosed action");
        }
        let mut targets = std::collections::BTreeSet::new();
        for (_, target) in &self.claim_mappings {
            if target == "role" {
                let reason = "metadata key \"role\" is reserved and may not be a mapping destination";
                return refused("claim_mappings", reason);
            }
            if !targets.insert(target) {
                return refused("claim_mappings", format!("multiple keys are mapped to metadata key {target:?}"));
            }
        }
        if self.user_claim.is_empty() {
            return refused("user_claim", "a user claim must be defined on the role");
        }
        let callback = settings.text("callback_mode")?;
        let known = !settings.names("callback_mode") || ["client", "direct", "device"].contains(&&*callback);
        if server.is_openbao() && !known {
            return refused("callback_mode", format!("invalid 'callback_mode': {callback}"));
        }
        if self.oidc && settings.list("allowed_redirect_uris")?.is_empty() {
            let reason = "'allowed_redirect_uris' must be set if 'role_type' is 'oidc' or unspecified.";
            return refused("allowed_redirect_uris", reason);
        }
        let bound = !self.bound_audiences.is_empty()
            || !self.cidrs.is_empty()
            || !self.bound_subject.is_empty()
            || !self.bound_claims.is_empty();
        if !self.oidc && !bound {
            return refused("bound_audiences", "must have at least one bound constraint when creating/updating a role");
        }
        check_ttl(settings, "ttl should not be greater than max ttl")
    }
}

/// Fields of the browser flow, which a login with a token has no use for; yet they have their types.
fn check_browser_fields(settings: Settings<'_>, server: Server) -> Result<(), SettingsError> {
    for field in ["verbose_oidc_logging", "oidc_disable_confirmation"] {
        if field == "verbose_oidc_logging" || server.is_openbao() {
            settings.boolean(field)?;
        }
    }
    for field in ["oidc_scopes", "allowed_redirect_uris"] {
        settings.list(field)?;
    }
    if settings.seconds("max_age")? < 0 {
        return refused("max_age", "cannot provide negative value");
    }
    if server.is_openbao() {
        settings.integer("poll_interval")?;
        for name in settings.list("oauth2_metadata")? {
            if !["access_token", "id_token", "refresh_token"].contains(&&*name) {
                return refused("oauth2_metadata", format!("Unrecognized oauth2 metadata name {name}"));
            }
        }
    }
    Ok(())
}

/// The fields of the Vault token that a login gives, as far as they can be wrong; some also under their old names.
pub(super) fn check_token_fields(settings: Settings<'_>) -> Result<(), SettingsError> {
    for field in ["token_ttl", "token_max_ttl", "token_period", "token_explicit_max_ttl", "ttl", "max_ttl", "period"] {
        if settings.seconds(field)? < 0 {
            return refused(field, "cannot provide negative value");
        }
    }
    for field in ["token_no_default_policy", "token_strictly_bind_ip"] {
        settings.boolean(field)?;
    }
    settings.integer("num_uses")?;
    if settings.integer("token_num_uses")? < 0 {
        return refused("token_num_uses", "'token_num_uses' cannot be negative");
    }
    let token_type = settings.text("token_type")?;
    if !["", "default", "service", "batch"].contains(&&*token_type) {
        return refused("token_type", format!("invalid 'token_type' value {token_type:?}"));
    }
    let batch = |what| {
        let reason = format!("'token_type' cannot be 'batch' or 'default_batch' when set to generate {what}");
        refused("token_type", reason)
    };
    if token_type == "batch" && settings.seconds("token_period")? != 0 {
        return batch("periodic tokens");
    }
    if token_type == "batch" && settings.integer("token_num_uses")? != 0 {
        return batch("tokens with limited use count");
    }
    let (ttl, max) = (settings.seconds("token_ttl")?, settings.seconds("token_max_ttl")?);
    if max > 0 && ttl > max {
        return refused("token_ttl", "'token_ttl' cannot be greater than 'token_max_ttl'");
    }
    Ok(())
}

/// The two under whichever name they were given.
pub(super) fn check_ttl(settings: Settings<'_>, reason: &str) -> Result<(), SettingsError> {
    let either = |name, old| match settings.get(name) {
        Some(_) => settings.seconds(name),
        None => settings.seconds(old),
    };
    let (ttl, max) = (either("token_ttl", "ttl")?, either("token_max_ttl", "max_ttl")?);
    if max > 0 && ttl > max { refused("token_ttl", reason) } else { Ok(()) }
}

fn bound_claims(settings: Settings<'_>, how: BoundClaimsType) -> Result<Vec<(String, Value)>, SettingsError> {
    let mut claims = settings.mapping("bound_claims")?;
    claims.sort_by(|a, b| a.0.cmp(&b.0));
    let all_texts = |value: &Value| match value {
        Value::List(items) => items.iter().all(|item| item.as_text().is_some()),
        value => value.as_text().is_some(),
    };
    if how == BoundClaimsType::Glob
        && let Some((name, _)) = claims.iter().find(|(_, value)| !all_texts(value))
    {
        return refused("bound_claims", format!("claim is not a string: {name}"));
    }
    Ok(claims)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Duplicates;
    use crate::login::Flavour;

    fn role(more: &str, flavour: Flavour) -> Result<JwtRole, SettingsError> {
        let json = format!(r#"{{"role_type":"jwt","user_claim":"sub","bound_subject":"s"{more}}}"#);
        let fields = Value::parse(json.as_bytes(), Duplicates::LastWins).unwrap();
        JwtRole::parse(&fields, Server::newest(flavour), Origin::Written)
    }

    /// Each as a real OpenBao took it, or refused it.
    #[test]
    fn what_the_server_would_refuse_is_refused_in_its_words() {
        for (more, field, words) in [
            (r#","oauth2_metadata":"x""#, "oauth2_metadata", "Unrecognized oauth2 metadata name x"),
            (r#","verbose_oidc_logging":"x""#, "verbose_oidc_logging", "true or false"),
            (r#","user_claim_json_pointer":1.5"#, "user_claim_json_pointer", "true or false"),
            (r#","token_no_default_policy":[]"#, "token_no_default_policy", "true or false"),
            (r#","poll_interval":"x""#, "poll_interval", "a whole number"),
            (r#","max_age":-1"#, "max_age", "cannot provide negative value"),
            (r#","allowed_redirect_uris":[[]]"#, "allowed_redirect_uris", "a list of texts"),
            (r#","bound_claims_type":null"#, "bound_claims_type", "invalid 'bound_claims_type': "),
            (r#","callback_mode":null"#, "callback_mode", "invalid 'callback_mode': "),
            (r#","role_type":null"#, "allowed_redirect_uris", "must be set if 'role_type' is 'oidc' or unspecified"),
            (r#","token_type":"default-batch""#, "token_type", "invalid 'token_type' value"),
            (r#","token_type":"batch","token_num_uses":1"#, "token_type", "limited use count"),
            (r#","token_type":"batch","token_period":"5s""#, "token_type", "periodic tokens"),
            (r#","token_num_uses":-1"#, "token_num_uses", "cannot be negative"),
            (r#","clock_skew_leeway":"-""#, "clock_skew_leeway", "whole seconds"),
            (r#","bound_claims":["x"]"#, "bound_claims", "a mapping"),
            (r#","claim_mappings":"a""#, "claim_mappings", "a mapping of texts"),
            (r#","token_bound_cidrs":"x""#, "token_bound_cidrs", "error parsing address \"x\": Unable to convert"),
        ] {
            let error = role(more, Flavour::OpenBao).unwrap_err();
            assert!(error.field() == field && error.to_string().contains(words), "{more}: {error}");
        }
        for more in [
            r#","bound_audiences":{}"#,
            r#","bound_claims":[{"a":"b"},{"c":"d"}]"#,
            r#","num_uses":-1"#,
            r#","num_uses":true"#,
            r#","claim_mappings":[{"a":"b"}]"#,
            r#","token_bound_cidrs":"127.0.0.1/255.0.0.0""#,
            r#","token_bound_cidrs":null,"bound_cidrs":"x""#,
            r#","oauth2_metadata":["id_token"]"#,
            r#","unknown":{}"#,
        ] {
            assert!(role(more, Flavour::OpenBao).is_ok(), "{more}");
        }
        // Fields of OpenBao alone are strangers to Vault.
        assert!(role(r#","oauth2_metadata":"x","poll_interval":"x","callback_mode":"x""#, Flavour::Vault).is_ok());
    }
}
