//! Whose rules: HashiCorp Vault's or OpenBao's, where they differ.

/// The program behind a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Flavour {
    /// HashiCorp Vault.
    #[default]
    Vault,
    /// OpenBao.
    OpenBao,
}

/// A server, as far as its rules depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Server {
    /// Which program.
    pub flavour: Flavour,
    /// Major, minor, patch (`sys/health`, `version`); `None` means the newest known rules.
    pub version: Option<(u32, u32, u32)>,
}

impl Flavour {
    /// From the configuration's `server:`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "vault" => Some(Self::Vault),
            "openbao" => Some(Self::OpenBao),
            _ => None,
        }
    }
}

impl Server {
    /// The newest rules of a program.
    #[must_use]
    pub fn newest(flavour: Flavour) -> Self {
        Self { flavour, version: None }
    }

    pub(super) fn is_openbao(self) -> bool {
        self.flavour == Flavour::OpenBao
    }

    /// Refuses claims that differ from a registered name by case alone: since the middle of 2026. Before, such a claim counted
    /// as the registered one. Of Vault no release is known from which on it does, so that the newest rules are taken.
    pub(super) fn refuses_ambiguous_claims(self) -> bool {
        !self.is_openbao() || self.version.is_none_or(|version| version >= (2, 7, 0))
    }
}
