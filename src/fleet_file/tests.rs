//! Tests of whole fleet files, and what the tests of the single keys share.

use std::{fs::Permissions, os::unix::fs::PermissionsExt};

use openssl::{
    pkey::{PKey, Private},
    symm::Cipher,
};

use super::*;
use crate::event::Expiry;

const HEAD: &str = "[endpoint.a]\nurl = \"mqtt://a\"\n[[client]]\nid = \"x\"\nendpoints = [\"a\"]\n";

/// Reads [`HEAD`] and `more`, with these variables set.
pub(super) fn read(more: &str, base_dir: &Path, env: &[(&str, &str)]) -> Result<Loaded, FileErrors> {
    let around = Surroundings {
        base_dir,
        name: "test",
        env: &|name| env.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).into()),
        host: &|| "host-7".to_owned(),
        is_own: &|address| address.is_loopback(),
        keys_opened: 2,
        now: Utc::now(),
    };
    parse_within(&format!("{HEAD}{more}"), "fleet.toml", &around)
}

/// The first client's password, as it is now.
fn password(loaded: &Loaded) -> Option<String> {
    of_client(&loaded.fleet.clients[0])
}

pub(super) fn of_client(client: &crate::fleet::Client) -> Option<String> {
    use crate::fleet::{Password, PasswordSource};
    Some(match client.password.as_ref()? {
        Password::Fixed(secret) => secret.expose().to_owned(),
        Password::Fetched(source) => match &**source {
            PasswordSource::File(path) => password::from_file(path, "password").unwrap(),
            PasswordSource::Command(command) => panic!("{command:?}"),
        },
    })
}

pub(super) fn warnings(loaded: &Loaded) -> String {
    loaded.warnings.iter().map(Warning::to_string).collect()
}

#[test]
fn every_line_of_the_starter_is_right() {
    // Lines that are switched off begin with a # and no space.
    let all: String = STARTER
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(setting) if setting.starts_with(|c: char| c.is_ascii_lowercase() || c == '[') => {
                format!("{setting}\n")
            }
            _ => format!("{line}\n"),
        })
        .collect();
    assert!(all.contains("\nenv = ") && all.contains("\npassword = "));
    for key in format::ENDPOINT.now.iter().chain(format::CLIENT.now) {
        assert!(all.contains(&format!("\n{key} = ")), "the starter does not show `{key}`");
    }
    // Files that it names.
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("certs")).unwrap();
    let put = |name: &str, pem: &[u8]| std::fs::write(dir.path().join(name), pem).unwrap();
    put("ca.pem", &certificate(400));
    put("devices.csv", b"thingName,attributes.site\nscale-1,hall-3\n");
    for i in 1..=3 {
        let (certificate, key) = pair(400);
        put(&format!("certs/press-{i:04}.pem"), &certificate);
        put(&format!("certs/press-{i:04}.key"), &locked(&key, "hunter2"));
    }
    std::fs::write(dir.path().join("crl.pem"), pem::tests::crl(7)).unwrap();
    let around = Surroundings {
        base_dir: dir.path(),
        name: "x",
        env: &|name| match name {
            "PRESS_PASSWORD" | "GATEWAY_TOKEN" => Some("hunter2".into()),
            "PATH" => std::env::var_os(name),
            _ => None,
        },
        host: &|| "host-7".to_owned(),
        is_own: &|_| true,
        keys_opened: ALL,
        now: Utc::now(),
    };
    // A certificate is for an endpoint with TLS.
    let all = all.replacen("endpoints = [\"local\"]", "endpoints = [\"local\", \"cloud\"]", 1);
    for (text, clients) in [(STARTER, 4), (&*all, 5)] {
        match parse_within(text, "fleet.toml", &around) {
            Ok(loaded) => {
                assert_eq!(loaded.fleet.clients.len(), clients);
                assert_eq!(warnings(&loaded), "");
            }
            Err(errors) => panic!("{errors}"),
        }
    }
}

#[test]
fn the_starter_tells_the_true_defaults() {
    let all: String = STARTER.lines().map(|l| format!("{}\n", l.strip_prefix('#').unwrap_or(l))).collect();
    let given = |key: &str| {
        let line = all.lines().find(|l| l.starts_with(&format!("{key} = "))).unwrap();
        line.split('#').next().unwrap().to_owned()
    };
    let keys = ["clean_start", "connect_timeout", "start_connected", "reconnect", "probe", "keep_alive", "protocol"];
    let keys = keys.into_iter().chain(["session_expiry", "follow_redirects", "maximum_packet_size"]);
    for key in keys {
        let plain = read("", Path::new(""), &[]).unwrap();
        let set = read(&given(key), Path::new(""), &[]).unwrap();
        assert_eq!(plain.fleet.clients[0].settings, set.fleet.clients[0].settings, "{key}");
    }
    for (key, value) in [
        ("connect_rate", crate::fleet::Endpoint::CONNECT_RATE as usize),
        ("max_connecting", crate::fleet::Endpoint::MAX_CONNECTING as usize),
        ("worker_size", read("", Path::new(""), &[]).unwrap().fleet.worker_size),
    ] {
        assert!(given(key).trim().ends_with(&format!(" {value}")), "{key}");
    }
}

#[test]
fn a_certificate_s_files_are_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, pem: &[u8]| std::fs::write(dir.path().join(name), pem).unwrap();
    let (certificate, key) = pair(400);
    put("c-1.pem", &certificate);
    put("k-1.pem", &key.private_key_to_pem_pkcs8().unwrap());
    put("locked", &locked(&key, "hunter2"));
    let seen = |more: &str| {
        let text = format!("[endpoint.t]\nurl = 'mqtts://t'\n[[client]]\nid = 'c-%i'\nendpoints = ['t']\n{more}\n");
        read(&text, dir.path(), &[("PW", "hunter2")])
    };
    let good = seen("cert_file = '%c.pem'\nkey_file = 'k-%i.pem'").unwrap();
    let identity = good.fleet.clients[1].identity.clone().unwrap();
    assert_eq!((&identity.cert_file, &identity.key_file), (&dir.path().join("c-1.pem"), &dir.path().join("k-1.pem")));
    let locked = "cert_file = 'c-1.pem'\nkey_file = 'locked'";
    assert!(seen(&format!("{locked}\nkey_password = {{ env = 'PW' }}")).is_ok());
    for (more, says) in [
        (locked.to_owned(), "is encrypted"),
        ("count = 3\ncert_file = '%c.pem'\nkey_file = 'k-%i.pem'".into(), "so it is with 4 files"),
        ("cert_file = 'k-1.pem'\nkey_file = 'k-1.pem'".into(), "has no certificate in PEM"),
        ("cert_file = 'c-1.pem'\nkey_file = 'c-1.pem'".into(), "has no private key in PEM"),
        ("cert_file = 'c-1.pem'".into(), "`cert_file` without `key_file`"),
        ("key_file = 'k-1.pem'".into(), "`key_file` without `cert_file`"),
        ("key_password = { env = 'PW' }".into(), "`key_password` without `key_file`"),
    ] {
        let errors = seen(&more).unwrap_err().to_string();
        assert!(errors.contains(says) && !errors.contains("hunter2"), "{more}: {errors}");
    }
}

/// A certificate good for so many days from now, as PEM, and its key.
pub(super) fn pair(days: i64) -> (Vec<u8>, PKey<Private>) {
    use openssl::{asn1::Asn1Time, ec, hash::MessageDigest, nid::Nid, x509::X509};
    let group = ec::EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    let key = PKey::from_ec_key(ec::EcKey::generate(&group).unwrap()).unwrap();
    let time = |days: i64| Asn1Time::from_unix(Utc::now().timestamp() + days * 86_400 + 60).unwrap();
    let mut builder = X509::builder().unwrap();
    builder.set_not_before(&time(-400)).unwrap();
    builder.set_not_after(&time(days)).unwrap();
    builder.set_pubkey(&key).unwrap();
    builder.sign(&key, MessageDigest::sha256()).unwrap();
    (builder.build().to_pem().unwrap(), key)
}

pub(super) fn certificate(days: i64) -> Vec<u8> {
    pair(days).0
}

pub(super) fn locked(key: &PKey<Private>, password: &str) -> Vec<u8> {
    key.private_key_to_pem_pkcs8_passphrase(Cipher::aes_256_cbc(), password.as_bytes()).unwrap()
}

#[test]
fn certificates_that_end_soon_are_warned_of_where_they_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, pems: &[Vec<u8>]| std::fs::write(dir.path().join(name), pems.concat()).unwrap();
    let put_pair = |name: &str, days: i64, more: &[Vec<u8>]| {
        let (certificate, key) = pair(days);
        put(&format!("{name}.pem"), &[&[certificate], more].concat());
        put(&format!("{name}.key"), &[key.private_key_to_pem_pkcs8().unwrap()]);
    };
    put_pair("good", 21, &[certificate(-3)]); // what comes after the first is not the client's
    put_pair("ended", -3, &[]);
    put_pair("soon", 20, &[certificate(400)]);
    let seen = |ca: &str, cert: &str| {
        let text = format!(
            "[endpoint.t]\nurl = 'mqtts://t'\nca_file = '{ca}.pem'\n\
             [[client]]\nid = 'c-%i'\ncount = 2\nendpoints = ['t']\ncert_file = '{cert}.pem'\nkey_file = '{cert}.key'\n"
        );
        let loaded = read(&text, dir.path(), &[]).unwrap();
        let identity = loaded.fleet.clients[2].identity.clone().unwrap();
        let days = identity.not_after.map(|end| Expiry::new(end, Utc::now()).days());
        (days, warnings(&loaded))
    };
    assert_eq!(seen("good", "good"), (Some(21), String::new()));
    assert_eq!(seen("soon", "good").1, "", "of several CAs the last one counts");
    let (days, said) = seen("good", "soon");
    assert_eq!(days, Some(20));
    assert!(said.contains("soon.pem\" ends in 20 days\n") && said.contains("fleet.toml:13:13"), "{said}");
    let (days, said) = seen("ended", "ended");
    assert_eq!(days, Some(-3));
    assert!(said.contains("`ca_file`") && said.contains("ended.pem\" ended 2 days ago"), "{said}");
    assert!(said.contains("`cert_file`") && said.contains("fleet.toml:8:11"), "{said}");
    put_pair("own-1", 5, &[]);
    put_pair("own-2", -30, &[]);
    let (_, said) = seen("good", "own-%i");
    assert!(said.contains("; so it is with 2 certificates of this table"), "{said}");
}

#[test]
fn of_many_keys_some_are_opened() {
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, pem: &[u8]| std::fs::write(dir.path().join(name), pem).unwrap();
    for i in 1..=3 {
        let (certificate, key) = pair(400);
        put(&format!("{i}.pem"), &certificate);
        put(&format!("{i}.key"), &key.private_key_to_pem_pkcs8().unwrap());
    }
    let seen = || {
        let client = "[[client]]\nid = '%i'\ncount = 3\nendpoints = ['t']\ncert_file = '%i.pem'\nkey_file = '%i.key'";
        read(&format!("[endpoint.t]\nurl = 'mqtts://t'\n{client}"), dir.path(), &[])
    };
    assert!(seen().is_ok());
    put("3.key", &pair(400).1.private_key_to_pem_pkcs8().unwrap());
    assert!(seen().is_ok(), "the third is only looked at");
    put("3.key", b"no key");
    assert!(seen().unwrap_err().to_string().contains("3.key\" has no private key in PEM"));
    put("2.key", &pair(400).1.private_key_to_pem_pkcs8().unwrap());
    assert!(seen().unwrap_err().to_string().contains("2.pem\"; so it is with 2 files of this table"));
}

#[test]
fn the_host_is_part_of_an_id() {
    let more = "[[client]]\nid = \"%h-%03i-100%%\"\nendpoints = [\"a\"]\nusername = \"%c/%i\"\nstart = 7\n";
    let fleet = read(more, Path::new(""), &[]).unwrap().fleet;
    assert_eq!(&*fleet.clients[1].id, "host-7-007-100%");
    assert_eq!(fleet.clients[1].username.as_deref(), Some("host-7-007-100%/7"));
}

#[test]
fn passwords_come_from_the_environment() {
    let more = "password = { env = \"PW\" }";
    let env = [("PW", "hunter2"), ("EMPTY", "")];
    let loaded = read(more, Path::new(""), &env).unwrap();
    assert_eq!((password(&loaded).as_deref(), warnings(&loaded).as_str()), (Some("hunter2"), ""));
    let error = |more: &str| read(more, Path::new(""), &env).unwrap_err().to_string();
    assert!(error("password = { env = \"NOPE\" }").contains("variable \"NOPE\" is not set"));
    assert!(error("password = { env = \"EMPTY\" }").contains("`env` is empty"));
    let misplaced = error("password = { env = \"my hunter2!\" }");
    assert!(misplaced.contains("must be the name") && !misplaced.contains("hunter2"), "{misplaced}");
}

#[test]
fn passwords_come_from_files() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8], mode: u32| {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    };
    write("good", b"hunter2\n", 0o600);
    write("dos", b"hunter2\r\n", 0o600);
    write("two", b"hunter2\n\n", 0o600);
    write("open", b"hunter2", 0o640);
    write("empty", b"\n", 0o600);
    write("bytes", b"hunter2\xff", 0o600);
    write("nul", b"hunter2\0x", 0o600);
    write("long", "hunter2 ".repeat(10_000).as_bytes(), 0o600);
    let file = |name: &str| read(&format!("password = {{ file = \"{name}\" }}"), dir.path(), &[]);
    for (name, password_is, warned) in
        [("good", "hunter2", false), ("dos", "hunter2", false), ("two", "hunter2\n", false), ("open", "hunter2", true)]
    {
        let loaded = file(name).unwrap();
        assert_eq!(password(&loaded).as_deref(), Some(password_is), "{name}");
        assert_eq!(warnings(&loaded).contains("others than its owner"), warned, "{name}");
        assert_eq!(loaded.warnings.len(), usize::from(warned));
    }
    for (name, says) in [
        ("empty", "`file` is empty"),
        ("bytes", "is not UTF-8"),
        ("nul", "NUL"),
        ("long", "at most 65,535 bytes"),
        ("nosuch", "cannot read the password file"),
        (".", "cannot read the password file"),
    ] {
        let errors = file(name).unwrap_err().to_string();
        assert!(errors.contains(says) && !errors.contains("hunter2"), "{name}: {errors}");
    }
}

#[test]
fn passwords_come_from_systemd_credentials() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("press"), "hunter2").unwrap();
    let env = [("CREDENTIALS_DIRECTORY", dir.path().to_str().unwrap())];
    let loaded = read("password = { credential = \"press\" }", Path::new("/"), &env).unwrap();
    assert_eq!((password(&loaded).as_deref(), warnings(&loaded).as_str()), (Some("hunter2"), ""));
    let error = |name: &str, env: &[(&str, &str)]| {
        read(&format!("password = {{ credential = \"{name}\" }}"), Path::new("/"), env).unwrap_err().to_string()
    };
    assert!(error("press", &[]).contains("LoadCredential="));
    assert!(error("../press", &env).contains("without a path"));
    assert!(error("other", &env).contains("cannot read"));
}

#[test]
fn a_password_in_plain_text_is_warned_of_and_not_shown() {
    let loaded = read("password = \"hunter2\"", Path::new(""), &[]).unwrap();
    assert_eq!(password(&loaded).as_deref(), Some("hunter2"));
    assert!(warnings(&loaded).contains("password = [redacted]"), "{}", warnings(&loaded));
    assert!(!format!("{loaded:?}").contains("hunter2"));
}

#[test]
fn a_starter_is_written_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("plant.toml");
    write_starter(&path).unwrap();
    assert_eq!(load(&path).unwrap().fleet.clients.len(), 4);
    std::fs::write(&path, "mine").unwrap();
    let again = write_starter(&path).unwrap_err().to_string();
    assert!(again.contains("is there already and was left as it is"), "{again}");
    assert_eq!(std::fs::read(&path).unwrap(), b"mine");
    let nowhere = write_starter(&dir.path().join("no/such")).unwrap_err().to_string();
    assert!(nowhere.contains("cannot write"), "{nowhere}");
}
