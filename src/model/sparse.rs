//! Defines how arrays that are mostly empty are told in few bytes: for each run of equal values, how many they are and the value.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error, ser::SerializeSeq};

/// As `#[serde(with = "sparse")]`.
pub(super) fn serialize<S: Serializer, T: Serialize + PartialEq, const N: usize>(
    values: &[T; N],
    to: S,
) -> Result<S::Ok, S::Error> {
    runs(values, to)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>, T: Deserialize<'de> + Copy + Default, const N: usize>(
    from: D,
) -> Result<[T; N], D::Error> {
    let mut values = [T::default(); N];
    fill(&mut values, from)?;
    Ok(values)
}

fn runs<S: Serializer, T: Serialize + PartialEq>(values: &[T], to: S) -> Result<S::Ok, S::Error> {
    let runs = || values.chunk_by(|a, b| a == b);
    let mut seq = to.serialize_seq(Some(runs().count()))?;
    for run in runs() {
        seq.serialize_element(&(run.len() as u32, &run[0]))?;
    }
    seq.end()
}

fn fill<'de, D: Deserializer<'de>, T: Deserialize<'de> + Copy>(values: &mut [T], from: D) -> Result<(), D::Error> {
    let mut at = 0usize;
    for (len, value) in Vec::<(u32, T)>::deserialize(from)? {
        let place = values.get_mut(at..at.saturating_add(len as usize));
        place.ok_or_else(|| D::Error::custom("more values than there is room for"))?.fill(value);
        at += len as usize;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::{Deserialize, Serialize};

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Some {
        #[serde(with = "super")]
        one: [u32; 40],
        #[serde(with = "super")]
        two: [u8; 300],
    }

    proptest! {
        #[test]
        fn what_is_told_is_read(one in proptest::collection::vec(0u32..3, 40), set in proptest::collection::vec((0..300usize, 1u8..), 0..20)) {
            let mut some = Some { one: one.try_into().unwrap(), two: [0; 300] };
            set.into_iter().for_each(|(n, value)| some.two[n] = value);
            let bytes = postcard::to_stdvec(&some).unwrap();
            prop_assert!(bytes.len() < 400);
            prop_assert_eq!(postcard::from_bytes::<Some>(&bytes).unwrap(), some);
        }

        #[test]
        fn nonsense_is_an_error_and_nothing_else(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = postcard::from_bytes::<Some>(&bytes);
        }
    }
}
