//! Names, help texts and types of all metric families: users hold on to these.

/// What the samples of a family mean to Prometheus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, until a restart.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Buckets, sum and count.
    Histogram,
}

impl Kind {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// One metric family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Family {
    /// As samples have it.
    pub name: &'static str,
    /// The line `# HELP`.
    pub help: &'static str,
    /// The line `# TYPE`.
    pub kind: Kind,
}

const fn gauge(name: &'static str, help: &'static str) -> Family {
    Family { name, help, kind: Kind::Gauge }
}

const fn counter(name: &'static str, help: &'static str) -> Family {
    Family { name, help, kind: Kind::Counter }
}

// The families of happn-app/jwt-exporter 1.1, with its help texts. `jwt_issued_at_timestamp` is the name in its
// documentation, `jwt_exporter_jwt_issued_at_timestamp` the one that it serves: both are here, always.
pub(super) const EXPIRES_IN: Family =
    gauge("jwt_exporter_jwt_expires_in_seconds", "Number of seconds until the JWT expires.");
pub(super) const ISSUED_SINCE: Family =
    gauge("jwt_exporter_jwt_issued_since_seconds", "Number of seconds since the JWT was issued.");
pub(super) const EXPIRATION: Family =
    gauge("jwt_exporter_jwt_expiration_timestamp", "Timestamp of when the JWT expires.");
pub(super) const ISSUED_AT_DOCUMENTED: Family =
    gauge("jwt_issued_at_timestamp", "Timestamp of when the JWT was issued.");
pub(super) const ISSUED_AT: Family =
    gauge("jwt_exporter_jwt_issued_at_timestamp", "Timestamp of when the JWT was issued.");
pub(super) const ERROR_TOTAL: Family = counter("jwt_exporter_error_total", "JWT Exporter Errors");

pub(super) const TOKEN_INFO: Family = gauge(
    "jwt_exporter_token_info",
    "Always 1: a token, where it is kept, the algorithm of its JOSE header, and its type (JWS or JWE).",
);
pub(super) const TOKEN_EXPIRATION: Family = gauge(
    "jwt_exporter_token_expiration_timestamp_seconds",
    "When the token expires (claim exp), in Unix seconds. No sample for a token that never does.",
);
pub(super) const TOKEN_ISSUED_AT: Family = gauge(
    "jwt_exporter_token_issued_at_timestamp_seconds",
    "When the token was issued (claim iat), in Unix seconds. No sample where the token does not say.",
);
pub(super) const TOKEN_NOT_BEFORE: Family = gauge(
    "jwt_exporter_token_not_before_timestamp_seconds",
    "From when on the token is valid (claim nbf), in Unix seconds. No sample where the token does not say.",
);
pub(super) const TOKEN_NEVER_EXPIRES: Family =
    gauge("jwt_exporter_token_never_expires", "Always 1: a signed token without a readable claim exp.");
pub(super) const TOKEN_ERROR: Family = gauge(
    "jwt_exporter_token_error",
    "Always 1: a token or Secret that could not be shown, or not in full, and the reason.",
);

pub(super) const SOURCE_UP: Family =
    gauge("jwt_exporter_source_up", "Whether the last poll of the source succeeded, in all of its namespaces.");
pub(super) const SCOPE_UP: Family = gauge(
    "jwt_exporter_scope_up",
    "Whether the namespace could be read at the last try, for each one that the configuration names.",
);
pub(super) const SOURCE_LAST_SUCCESS: Family = gauge(
    "jwt_exporter_source_last_success_timestamp_seconds",
    "When the source was last polled with success, in Unix seconds.",
);
pub(super) const SOURCE_TOKENS: Family = gauge("jwt_exporter_source_tokens", "Tokens that the source holds now.");
pub(super) const SOURCE_SECRETS: Family =
    gauge("jwt_exporter_source_secrets", "Secrets with a token, or that should have one, that the source holds now.");
pub(super) const SOURCE_ERRORS: Family = counter(
    "jwt_exporter_source_errors_total",
    "Errors of the source by reason: failed polls, and at each poll every token or Secret that cannot be read.",
);

pub(super) const POLL_DURATION: Family = Family {
    name: "jwt_exporter_poll_duration_seconds",
    help: "How long polls of the source took, failed ones included.",
    kind: Kind::Histogram,
};
pub(super) const KUBE_REQUESTS: Family = counter(
    "jwt_exporter_kube_requests_total",
    "Requests to Kubernetes API servers by verb, resource and status code (error: no answer).",
);
pub(super) const CONFIG_RELOAD: Family = gauge(
    "jwt_exporter_config_last_reload_successful",
    "Whether the configuration file was accepted when it was last read.",
);
pub(super) const BUILD_INFO: Family =
    gauge("jwt_exporter_build_info", "Always 1: version, revision and compiler of this program.");

pub(super) const RENEWALS: Family =
    counter("jwt_exporter_renewals_total", "Tries to renew the token, by result (success, failure).");
pub(super) const RENEWAL_LAST_SUCCESS: Family = gauge(
    "jwt_exporter_renewal_last_success_timestamp_seconds",
    "When this process last wrote a new token, in Unix seconds. No sample before the first.",
);
pub(super) const RENEWAL_NEXT: Family = gauge(
    "jwt_exporter_renewal_next_timestamp_seconds",
    "When the token is renewed next, or that is tried again, in Unix seconds. No sample for a token that never expires.",
);
pub(super) const RENEWAL_ERROR: Family =
    gauge("jwt_exporter_renewal_error", "Always 1: the last try to renew the token failed, and the reason.");
pub(super) const RENEWAL_INSECURE: Family = gauge(
    "jwt_exporter_renewal_insecure",
    "Always 1: the credentials are sent without TLS, or to a server whose certificate is not verified.",
);

/// All families but those of the process, for tests that hold the documents to them.
pub const FAMILIES: [Family; 27] = [
    EXPIRES_IN,
    ISSUED_SINCE,
    EXPIRATION,
    ISSUED_AT_DOCUMENTED,
    ISSUED_AT,
    ERROR_TOTAL,
    TOKEN_INFO,
    TOKEN_EXPIRATION,
    TOKEN_ISSUED_AT,
    TOKEN_NOT_BEFORE,
    TOKEN_NEVER_EXPIRES,
    TOKEN_ERROR,
    SOURCE_UP,
    SCOPE_UP,
    SOURCE_LAST_SUCCESS,
    SOURCE_TOKENS,
    SOURCE_SECRETS,
    SOURCE_ERRORS,
    POLL_DURATION,
    KUBE_REQUESTS,
    CONFIG_RELOAD,
    BUILD_INFO,
    RENEWALS,
    RENEWAL_LAST_SUCCESS,
    RENEWAL_NEXT,
    RENEWAL_ERROR,
    RENEWAL_INSECURE,
];
