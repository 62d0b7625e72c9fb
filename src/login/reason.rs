//! The closed sets of reasons, as they stand in metrics: an interface, never renamed.

use std::fmt;

macro_rules! reasons {
    ($(#[$about:meta])* $name:ident: $($(#[$doc:meta])* $variant:ident, $code:literal, $words:literal;)+) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name {
            $($(#[$doc])* $variant,)+
        }

        impl $name {
            /// Every reason there is.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The code, as the label `reason` has it.
            #[must_use]
            pub fn code(self) -> &'static str {
                match self {
                    $(Self::$variant => $code,)+
                }
            }

            /// The same in words for people, without an end mark.
            #[must_use]
            pub fn words(self) -> &'static str {
                match self {
                    $(Self::$variant => $words,)+
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.words())
            }
        }
    };
}

reasons! {
    /// Why a server refuses a login.
    Refusal:
    /// No role is named, or there is none of that name.
    RoleMissing, "role_missing", "the mount has no such role";
    /// The role is for the browser flow.
    RoleTypeOidc, "role_type_oidc", "the role has role_type oidc, which this login cannot use";
    /// Nothing was sent.
    MissingToken, "missing_token", "there is no token";
    /// The source address lies outside of `token_bound_cidrs`.
    CidrDenied, "cidr_denied", "the source address is outside of the role's CIDRs";
    /// The server cannot use the key source.
    KeysUnavailable, "keys_unavailable", "the server cannot read the mount's keys";
    /// No signed JWT.
    MalformedToken, "malformed_token", "the token cannot be parsed";
    /// `crit` or `b64`.
    UnsupportedHeader, "unsupported_header", "the header demands an extension that the server does not know (crit, b64)";
    /// `alg` is none that the mount takes.
    UnsupportedAlg, "unsupported_alg", "the mount does not take this signature algorithm";
    /// `kid` names no key.
    UnknownKid, "unknown_kid", "no key of the mount has the token's kid";
    /// No key verifies the signature.
    BadSignature, "bad_signature", "no key of the mount verifies the signature";
    /// The claims set is no JSON object, or a claim has a type that the server does not take.
    MalformedClaims, "malformed_claims", "the claims have types that the server does not take";
    /// Two names that differ by case.
    AmbiguousClaim, "ambiguous_claim", "a claim is named like a registered one except for case";
    /// `iss`
    IssuerMismatch, "issuer_mismatch", "iss is not the issuer that the mount is bound to";
    /// `sub`
    SubjectMismatch, "subject_mismatch", "sub is not the role's bound_subject";
    /// `aud`
    AudienceMismatch, "audience_mismatch", "no audience of the token is one of the role's";
    /// None of the three dates.
    NoTimeClaims, "no_time_claims", "the token has neither exp nor nbf nor iat";
    /// Too early.
    NotYetValid, "not_yet_valid", "the token is not valid yet";
    /// Too late.
    Expired, "expired", "the token has expired";
    /// `iat` lies ahead.
    IssuedInFuture, "issued_in_future", "the token was issued in the future";
    /// An audience that nobody asked for.
    AudienceMissingInRole, "audience_missing_in_role", "the token has an audience while the role binds none";
    /// `user_claim` is absent.
    UserClaimMissing, "user_claim_missing", "the role's user_claim is not in the token";
    /// `user_claim` has another type.
    UserClaimNotString, "user_claim_not_string", "the role's user_claim is no string";
    /// `user_claim` is empty.
    UserClaimEmpty, "user_claim_empty", "the role's user_claim is empty";
    /// A claim of `claim_mappings` has another type.
    ClaimMappingNotString, "claim_mapping_not_string", "a claim of claim_mappings is no string";
    /// `groups_claim` is absent.
    GroupsClaimMissing, "groups_claim_missing", "the role's groups_claim is not in the token";
    /// `groups_claim` has another type.
    GroupsClaimInvalid, "groups_claim_invalid", "the role's groups_claim is no string and no list of strings";
    /// A claim of `bound_claims` is absent.
    ClaimMissing, "claim_missing", "a claim of bound_claims is not in the token";
    /// An object or null, where values are compared.
    ClaimUnsupportedType, "claim_unsupported_type", "a claim of bound_claims, or its bound value, has a type that cannot be compared";
    /// Another value.
    ClaimMismatch, "claim_mismatch", "a claim has none of the values that bound_claims wants";
    /// Lists or objects inside lists on both sides.
    ServerPanic, "server_panic", "comparing bound_claims crashes the request at the server";
    /// A templated policy cannot be made of the claims.
    PolicyTemplateFailed, "policy_template_failed", "a templated policy needs a claim that the token has not";
    /// The service account's name.
    NameNotAllowed, "name_not_allowed", "the role does not allow the service account's name";
    /// The service account's namespace.
    NamespaceNotAllowed, "namespace_not_allowed", "the role does not allow the service account's namespace";
    /// The mount has no `token_reviewer_jwt` to read labels with.
    NamespaceSelectorUnavailable, "namespace_selector_unavailable", "the mount has no token_reviewer_jwt to evaluate the namespace selector with";
    /// TokenReview said no, or told another account.
    ReviewRefused, "review_refused", "the cluster's TokenReview does not confirm the token";
}

reasons! {
    /// Why nobody here can tell what the server would say.
    Unknown:
    /// The keys could not be had.
    KeysUnavailable, "keys_unavailable", "the mount's keys could not be fetched";
    /// The mount could not be read, and never was.
    MountUnreachable, "mount_unreachable", "the mount's configuration could not be read";
    /// Nobody asked the cluster, or it did not answer.
    ReviewUnavailable, "review_unavailable", "the cluster's TokenReview was not asked or did not answer";
    /// The role is bound to source addresses, and that of the login is not known.
    SourceAddress, "source_address", "the role is bound to source addresses, and that of the login is not known here";
    /// The labels of the namespace could not be read.
    NamespaceUnavailable, "namespace_unavailable", "the labels of the service account's namespace could not be read";
    /// A signature that this program cannot verify.
    AlgorithmUnsupported, "algorithm_unsupported", "this program cannot verify that kind of signature or key";
    /// A policy that is made of claims in a way that is not worked out here.
    PolicyTemplate, "policy_template", "a templated policy is not worked out here";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_and_words_are_words() {
        let codes: std::collections::BTreeSet<_> = Refusal::ALL.iter().map(|reason| reason.code()).collect();
        assert_eq!(codes.len(), Refusal::ALL.len());
        for reason in Refusal::ALL {
            assert!(reason.code().bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{reason:?}");
            assert!(!reason.words().ends_with('.'));
        }
        assert_eq!(
            Unknown::ALL.len(),
            Unknown::ALL.iter().map(|reason| reason.code()).collect::<std::collections::BTreeSet<_>>().len()
        );
    }
}
