//! Defines a secret, and the one way in which it is written down.

use std::{fmt, sync::Arc};

use secrecy::{ExposeSecret, SecretString};

/// A password or the like. It prints as `[secret]` and is wiped from memory when dropped.
#[derive(Clone)]
pub struct Secret(Arc<SecretString>);

impl Secret {
    pub fn new(value: String) -> Secret {
        Secret(Arc::new(SecretString::from(value)))
    }

    /// The value itself: for the worker's pipe and for Paho, nothing else.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

/// Whether a fleet file says another one than it said before: nobody learns anything from how long that takes.
impl PartialEq for Secret {
    fn eq(&self, other: &Secret) -> bool {
        self.expose() == other.expose()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// How a secret crosses the socket pair between console and worker: in clear. Nothing else may ask for it.
pub mod in_clear {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Secret;

    pub fn serialize<S: Serializer>(secret: &Option<Secret>, s: S) -> Result<S::Ok, S::Error> {
        secret.as_ref().map(Secret::expose).serialize(s)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Secret>, D::Error> {
        Ok(Option::<String>::deserialize(d)?.map(Secret::new))
    }

    /// The same for named secrets.
    pub(in crate::fleet) mod fields {
        use super::*;

        pub(crate) fn serialize<S: Serializer>(fields: &[(Box<str>, Secret)], s: S) -> Result<S::Ok, S::Error> {
            s.collect_seq(fields.iter().map(|(name, value)| (&**name, value.expose())))
        }

        pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<(Box<str>, Secret)>, D::Error> {
            let fields = Vec::<(Box<str>, String)>::deserialize(d)?;
            Ok(fields.into_iter().map(|(name, value)| (name, Secret::new(value))).collect())
        }
    }
}
