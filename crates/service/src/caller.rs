//! Who asks, and what they may do. Pure; finding out who it is, is `authorize.rs`.

use bessemer_model::{ProjectId, Role, TokenId};
use bessemer_seam::mutants::{self, Mutant};

use crate::failure::ServiceError;

/// Someone whose token was checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Caller {
    /// The operator: every project, and the cluster itself.
    Admin,
    /// The bearer of a project's token.
    Token { project: ProjectId, role: Role, id: TokenId },
}

impl Caller {
    /// Refuses with `Forbidden` unless the caller has at least `role` in `project`.
    pub fn may(&self, project: &ProjectId, role: Role) -> Result<(), ServiceError> {
        match self {
            Caller::Admin => Ok(()),
            Caller::Token { .. } if mutants::on(Mutant::ForeignProjectServed) => Ok(()),
            Caller::Token { project: own, role: given, .. } if own == project && *given >= role => {
                Ok(())
            }
            Caller::Token { .. } => Err(ServiceError::Forbidden),
        }
    }

    /// Refuses with `Forbidden` unless the caller is the operator.
    pub fn may_operate(&self) -> Result<(), ServiceError> {
        match self {
            Caller::Admin => Ok(()),
            Caller::Token { .. } => Err(ServiceError::Forbidden),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reaches_its_role_in_its_project_and_no_further() {
        let own = ProjectId::new("a");
        let member =
            Caller::Token { project: own.clone(), role: Role::Member, id: TokenId::new("t") };
        assert!(member.may(&own, Role::Reader).is_ok());
        assert!(member.may(&own, Role::Member).is_ok());
        assert!(matches!(member.may(&own, Role::Owner), Err(ServiceError::Forbidden)));
        let foreign = ProjectId::new("b");
        assert!(matches!(member.may(&foreign, Role::Reader), Err(ServiceError::Forbidden)));
        assert!(matches!(member.may_operate(), Err(ServiceError::Forbidden)));
        assert!(Caller::Admin.may(&foreign, Role::Owner).is_ok());
    }
}
