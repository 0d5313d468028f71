//! Inventories as registries export them, right and wrong. What they look like is made up after those of AWS IoT, Azure and EMQX.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
};

use tempfile::TempDir;

use crate::fleet_file::{
    FileErrors, Loaded,
    tests::{certificate, of_client, pair, read, warnings},
};

const ENDPOINTS: &str = "[endpoint.b]\nurl = 'mqtt://b'\n[endpoint.t]\nurl = 'mqtts://t'\n";

struct Files(TempDir);

impl Files {
    fn new() -> Files {
        Files(tempfile::tempdir().unwrap())
    }

    fn put(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.0.path().join(name);
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
    }

    /// Reads a fleet with a client, which has the ID x, and a table with these lines.
    fn read(&self, table: &str) -> Result<Loaded, FileErrors> {
        read(
            &format!("{ENDPOINTS}[label.site.hall-3]\nprobe = {{ kind = 'ack' }}\n[[client]]\n{table}\n"),
            self.0.path(),
            &[],
        )
    }

    /// The same from an inventory of this name.
    fn of(&self, name: &str, text: impl AsRef<[u8]>, more: &str) -> Result<Loaded, FileErrors> {
        self.put(name, text);
        self.read(&format!("from = '{name}'\nendpoints = ['a']\n{more}"))
    }
}

/// The clients of an inventory: ID, user name, password, labels.
fn clients(loaded: &Loaded) -> Vec<String> {
    let words = |client: &crate::fleet::Client| {
        let labels: Vec<String> = client.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let password = of_client(client).unwrap_or_default();
        format!("{}|{}|{password}|{}", client.id, client.username.as_deref().unwrap_or_default(), labels.join(","))
    };
    loaded.fleet.clients[1..].iter().map(words).collect()
}

#[test]
fn columns_are_fields_by_their_names() {
    let files = Files::new();
    let csv = "id,username,password,labels.site,note,endpoints\n\
               press-1,op1,\"a,\"\"b\",hall-3,x,\n\n\
               press-2,,%c,hall-4,\"two\nlines\",b a\n";
    let json = r#"[
        { "id": "press-1", "username": "op1", "password": "a,\"b", "labels": { "site": "hall-3" }, "note": [1] },
        { "id": "press-2", "username": null, "password": "%c", "labels.site": "hall-4", "endpoints": ["b", "a"] }
    ]"#;
    let lines = "{\"id\":\"press-1\",\"username\":\"op1\",\"password\":\"a,\\\"b\",\"labels\":{\"site\":\"hall-3\"}}\n\n\
                 {\"id\":\"press-2\",\"password\":\"%c\",\"labels\":{\"site\":\"hall-4\"},\"endpoints\":\"b a\"}";
    let with_mark = format!("\u{feff}{}", csv.replace(',', ";").replace("a;", "a,").replace('\n', "\r\n"));
    let tabs = csv.replace(',', "\t").replace("a\t", "a,");
    for (name, text) in [
        ("devices.csv", csv.to_owned()),
        ("MARKED.CSV", with_mark),
        ("devices.tsv", tabs),
        ("devices.json", json.to_owned()),
        ("things.json", format!("{{ \"total\": 2, \"things\": {json} }}")),
        ("devices.jsonl", lines.to_owned()),
    ] {
        let more = "username = 'of-%c-%i'\nstart = 7\nlabels = { kind = 'press', site = 'none' }";
        let loaded = files.of(name, text, more).unwrap_or_else(|errors| panic!("{name}: {errors}"));
        let are = ["press-1|op1|a,\"b|kind=press,site=hall-3", "press-2|of-press-2-8|%c|kind=press,site=hall-4"];
        assert_eq!((clients(&loaded), warnings(&loaded).as_str()), (are.map(str::to_owned).to_vec(), ""), "{name}");
        let keys: Vec<u16> = loaded.fleet.clients[2].endpoints.iter().map(|key| key.0).collect();
        assert_eq!(keys, [1, 0], "{name}");
        let kinds = loaded.fleet.clients[1..].iter().map(|c| c.settings.probe.kind.name()).collect::<Vec<_>>();
        assert_eq!(kinds, ["ack", "heartbeat"], "{name}: what is given for a label");
    }
}

#[test]
fn only_the_first_character_of_a_cell_opens_quotes() {
    let files = Files::new();
    let csv = "id,labels.part,username\npress-1,5\" pipe,op1\npress-2,\"6\"\" pipe, x\",op2\npress-3,\"7\" pipe,op3\n";
    assert_eq!(
        clients(&files.of("devices.csv", csv, "").unwrap()),
        ["press-1|op1||part=5\" pipe", "press-2|op2||part=6\" pipe, x", "press-3|op3||part=7 pipe"]
    );
    // Places behind such a quote are right as well.
    let errors = files.of("devices.csv", "id,labels.part,username\npress-1,5\" pipe,a\0\nb,\"x,op", "").unwrap_err();
    let are = ["2:17 `username` has a NUL character, which MQTT forbids", "3:1 a quote is not closed from here on"];
    for (found, says) in told(&errors, "devices.csv").iter().zip(are) {
        assert!(found.starts_with(says), "{errors}");
    }
    assert_eq!(errors.count(), are.len(), "{errors}");
}

#[test]
fn an_inventory_of_any_size_is_not_read_into_memory() {
    let files = Files::new();
    files.put("huge.csv", "id\n");
    let file = fs::File::options().append(true).open(files.0.path().join("huge.csv")).unwrap();
    file.set_len((1 << 30) + 1).unwrap(); // none of it is on the disk
    let errors = files.read("from = 'huge.csv'\nendpoints = ['a']").unwrap_err().to_string();
    assert!(errors.contains("huge.csv\": it has more than 1 GiB, the most that is read of an inventory"), "{errors}");
}

#[test]
fn what_registries_export_is_read_by_a_small_map() {
    let files = Files::new();
    // A fleet index of AWS IoT: things with attributes.
    let aws = r#"{ "things": [
        { "thingName": "press-1", "thingTypeName": "press", "thingArn": "arn:aws:iot:eu-1:1:thing/press-1", "version": 1,
          "attributes": { "site": "hall-3", "serial": "A-17" } },
        { "thingName": "press-2", "thingArn": "arn:aws:iot:eu-1:1:thing/press-2", "version": 4, "attributes": {} }
    ], "nextToken": null }"#;
    let map = "columns = { id = 'thingName', labels.site = 'attributes.site', labels.version = 'version' }";
    let loaded = files.of("aws.json", aws, map).unwrap();
    assert_eq!(clients(&loaded), ["press-1|||site=hall-3,version=1", "press-2|||version=4"]);
    // The same as a spreadsheet.
    let csv = "thingName,attributes.site\npress-1,hall-3\n";
    let map = "columns = { id = 'thingName', 'labels.site' = 'attributes.site' }";
    assert_eq!(clients(&files.of("aws.csv", csv, map).unwrap()), ["press-1|||site=hall-3"]);
    // Device identities of an Azure IoT hub, with their keys.
    let azure = r#"[ { "deviceId": "press-1", "status": "enabled", "etag": "MQ==", "tags": { "site": "hall-3" },
        "authentication": { "type": "sas", "symmetricKey": { "primaryKey": "bm90IGEga2V5", "secondaryKey": "eA==" } } } ]"#;
    let map = "columns = { id = 'deviceId', password = 'authentication.symmetricKey.primaryKey', labels.site = 'tags.site' }\n\
               username = 'hub.example/%c'";
    assert_eq!(
        clients(&files.of("azure.json", azure, map).unwrap()),
        ["press-1|hub.example/press-1|bm90IGEga2V5|site=hall-3"]
    );
    // The clients of an EMQX broker by its API, and its users as they are imported.
    let emqx = r#"{ "data": [ { "clientid": "press-1", "username": "op", "node": "emqx@10.0.0.7", "port": 50114, "connected": true } ],
                    "meta": { "count": 1, "limit": 100, "page": 1 } }"#;
    let map = "columns = { id = 'clientid', labels.node = 'node', labels.connected = 'connected' }";
    assert_eq!(clients(&files.of("emqx.json", emqx, map).unwrap()), ["press-1|op||connected=true,node=emqx@10.0.0.7"]);
    let users = "user_id,password,is_superuser\npress-1,pw1,false\npress-2,pw2,true\n";
    let map = "columns = { id = 'user_id' }\nusername = '%c'";
    assert_eq!(clients(&files.of("emqx.csv", users, map).unwrap()), ["press-1|press-1|pw1|", "press-2|press-2|pw2|"]);
}

/// Each error with its place: `line:column title`.
fn told(errors: &FileErrors, file: &str) -> Vec<String> {
    let text = errors.to_string();
    let parts = text.split("error: ").skip(1);
    let words = parts.map(|part| {
        let (title, rest) = part.split_once('\n').unwrap_or((part, ""));
        let place = rest.split_once(file).map_or("", |(_, place)| place.lines().next().unwrap_or_default());
        format!("{} {title}", place.trim_start_matches(':'))
    });
    words.collect()
}

#[test]
fn all_that_is_wrong_with_rows_is_told_at_its_place_at_once_and_shows_no_secret() {
    let files = Files::new();
    let (certificate_of_it, key) = pair(400);
    files.put("ok.pem", certificate_of_it);
    files.put("ok.key", key.private_key_to_pem_pkcs8().unwrap());
    files.put("old.pem", certificate(-3));
    let long = "y".repeat(65_536);
    let mut csv = b"id,username,password,endpoints,cert_file,key_file,key_password,labels.site\n".to_vec();
    let rows: Vec<(String, &str)> = vec![
        ("good,,,,,,,".into(), ""),
        (",u,hunter2,,,,,".into(), "3:1 a device without `id`"),
        (format!("{long},,hunter2,,,,,"), "4:1 `id` has more than 65,535 bytes, the most that MQTT carries"),
        ("a\0b,,hunter2,,,,,".into(), "5:1 `id` has a NUL character, which MQTT forbids (MQTT 5.0 §1.5.4)"),
        ("good,,hunter2,,,,,".into(), "6:1 this client ID is there twice"),
        ("x,,hunter2,,,,,".into(), "7:1 this client ID is there twice"),
        ("few,hunter2".into(), "8:12 2 cells, and the first line names 8 columns"),
        ("many,,hunter2,,,,,,hunter2".into(), "9:20 9 cells, and the first line names 8 columns"),
        ("n1,a\0,hunter2,,,,,".into(), "10:4 `username` has a NUL character, which MQTT forbids (MQTT 5.0 §1.5.4)"),
        (format!("n2,{long},hunter2,,,,,"), "11:4 `username` has more than 65,535 bytes, the most that MQTT carries"),
        ("n3,u,hunter2\0,,,,,".into(), "12:6 `password` has a NUL character, which MQTT forbids (MQTT 5.0 §1.5.4)"),
        (format!("n4,u,hunter2{long},,,,,"), "13:6 `password` has more than 65,535 bytes, the most that MQTT carries"),
        ("n5,u,,hunter2,,,,".into(), "14:7 there is no such endpoint"),
        ("n6,u,,a b a,,,,".into(), "15:7 an endpoint is there twice"),
        ("n7,u,,\" ; \",,,,".into(), "16:7 there is no endpoint's name"),
        ("n8,u,,t,ok.pem,,,".into(), "17:1 `cert_file` without `key_file`"),
        ("n9,u,,t,,ok.key,,".into(), "18:1 `key_file` without `cert_file`"),
        ("m1,u,,t,,,hunter2,".into(), "19:1 `key_password` without `key_file`"),
        ("m2,u,,a,ok.pem,ok.key,,".into(), "20:1 a certificate means nothing without TLS"),
        (
            "m3,u,,t,no.pem,ok.key,,".into(),
            "21:1 `cert_file` \"DIR/no.pem\" cannot be read: No such file or directory (os error 2)",
        ),
        ("m4,u,,t,ok.pem,ok.pem,,".into(), "22:1 `key_file` \"DIR/ok.pem\" has no private key in PEM"),
        ("m5,u,,t,old.pem,ok.key,,".into(), "23:1 `key_file` \"DIR/ok.key\" is not the key of \"DIR/old.pem\""),
        ("größe,u,,,,,,a\0".into(), "24:14 `labels.site` has a NUL character, which MQTT forbids (MQTT 5.0 §1.5.4)"),
        ("m6,,hunter2,,,,,".into(), "25:1 a password without a `username`"),
        ("a/#,u,,,,,,".into(), "26:1 the topic \"data/a/#\" has a wildcard"),
        ("m7,u,hunter2BAD,,,,,".into(), "27:6 `password` is not UTF-8"),
        ("\"two\nlines\",u,,c,,,,".into(), "29:11 there is no such endpoint"),
        ("m8,u,\"hunter2,,,,,".into(), "30:1 a quote is not closed from here on"),
    ];
    for (row, _) in &rows {
        csv.extend(row.as_bytes());
        csv.push(b'\n');
    }
    let bad = csv.windows(3).position(|w| w == b"BAD").unwrap();
    csv[bad] = 0xff;
    let table = "protocol = '3.1.1'\npublish = { topic = 'data/%c', every = '1s' }";
    let errors = files.of("devices.csv", csv, table).unwrap_err();
    let folder = files.0.path().display().to_string();
    let found = told(&errors, "devices.csv");
    let found: Vec<String> = found.iter().map(|words| words.replace(&folder, "DIR")).collect();
    let expected: Vec<&str> = rows.iter().map(|(_, says)| *says).filter(|says| !says.is_empty()).collect();
    for (found, expected) in found.iter().zip(&expected) {
        assert!(found.starts_with(expected), "{found}\n{expected}\n{errors}");
    }
    assert_eq!((found.len(), errors.count()), (expected.len(), expected.len()), "{errors}");
    assert!(expected.len() > 20 && !errors.to_string().contains("hunter2"), "{errors}");
}

#[test]
fn what_is_wrong_in_json_is_told_at_its_place() {
    let files = Files::new();
    let json = "[\n  { \"id\": \"a\", \"username\": {} },\n  7,\n  { \"id\": true },\n  { \"password\": \"hunter2\" },\n\
                \x20 { \"id\": \"b\", \"endpoints\": [\"hunter2\"] },\n  { \"id\": \"c\", \"labels\": { \"site\": [] } }\n]";
    let expected = [
        "2:28 `username` must be a text, not an object",
        "3:3 a device is an object",
        "4:11 `id` must be a text, not true or false",
        "5:3 a device without `id`",
        "6:29 there is no such endpoint",
        "7:36 `labels.site` must be a text, not a list",
    ];
    assert_eq!(told(&files.of("d.json", json, "").unwrap_err(), "d.json"), expected);
    let lines = "{\"id\":\"a\",}\n{\"id\":\"b\"}\n\n{\"id\":\"c\"\n[]\n{\"id\":\"hunter2\\ud800\"}\n";
    let errors = files.of("d.jsonl", lines, "").unwrap_err();
    let expected = [
        "1:11 this is not JSON: key must be a string",
        "4:9 this is not JSON: EOF while parsing an object",
        "5:1 a device is an object",
        "6:7 `id` is no text: unexpected end of hex escape",
    ];
    assert_eq!(told(&errors, "d.jsonl"), expected, "{errors}");
    assert!(!errors.to_string().contains("hunter2"));
    for (text, says) in [
        ("{", "1:1 this is not JSON: EOF while parsing an object"),
        ("{ \"a\": 1 }", "1:1 this is no list of devices"),
        ("{ \"a\": [], \"b\": [] }", "1:1 this is no list of devices"),
        ("[]", "there is no device in"),
    ] {
        let told = told(&files.of("d.json", text, "").unwrap_err(), "d.json");
        assert!(told.len() == 1 && told[0].contains(says), "{text}: {told:?}");
    }
}

#[test]
fn what_is_wrong_around_the_rows_is_told() {
    let files = Files::new();
    let seen = |name: &str, text: &str, more: &str| files.of(name, text, more).unwrap_err();
    for (text, more, says) in [
        ("", "", "it is empty"),
        ("id\n", "", "there is no device in"),
        ("hunter2,x\n", "", "no column is called `id`"),
        ("id,id\na,b\n", "", "there are two columns `id`"),
        ("id\na\n", "columns = { username = 'user' }", "has no column \"user\""),
        ("id\na\n", "columns = { usrname = 'id' }", "did you mean `username`?"),
        ("id\na\n", "columns = { keep_alive = 'id' }", "what all clients share stands in the table"),
        ("id\na\n", "columns = { id = 7 }", "put it in quotes: \"7\""),
        ("id\na\n", "id = 'x'", "`id` does not go with `from`"),
        ("id\na\n", "count = 7", "`count` does not go with `from`"),
    ] {
        let errors = seen("d.csv", text, more);
        assert_eq!(errors.count(), 1, "{text:?} {more}: {errors}");
        assert!(errors.to_string().contains(says) && !errors.to_string().contains("hunter2"), "{text:?}: {errors}");
    }
    let json = seen("d.json", "[{ \"id\": \"a\" }]", "columns = { username = 'a.b' }").to_string();
    assert!(json.contains("has no device with \"a.b\"") && json.contains("fleet.toml:15:"), "{json}");
    for (table, says) in [
        ("from = 'no.csv'\nendpoints = ['a']", "no.csv\": No such file or directory"),
        ("from = '.json'\nendpoints = ['a']", "is no inventory"),
        ("from = 'd.xlsx'\nendpoints = ['a']", "its name ends in .csv, .json or .jsonl"),
        ("from = 'd.csv'", "this client has no `endpoints`"),
        ("id = 'y'\nendpoints = ['a']\ncolumns = {}", "`columns` goes with `from`"),
    ] {
        files.put("d.csv", "id\na\n");
        let errors = files.read(table).unwrap_err().to_string();
        assert!(errors.contains(says), "{table}: {errors}");
    }
    fs::create_dir(files.0.path().join("folder.csv")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", files.0.path().join("endless.csv")).unwrap();
    for name in ["folder.csv", "endless.csv"] {
        let errors = files.read(&format!("from = '{name}'\nendpoints = ['a']")).unwrap_err().to_string();
        assert!(errors.contains("it is no regular file"), "{errors}");
    }
    // What may be a slip, and who can read the passwords.
    files.put("d.csv", "id,usernme,password\na,b,c\n");
    fs::set_permissions(files.0.path().join("d.csv"), Permissions::from_mode(0o644)).unwrap();
    let said = warnings(&files.read("from = 'd.csv'\nendpoints = ['a']").unwrap());
    assert!(said.contains("d.csv:1:4") && said.contains("did you mean `username`?"), "{said}");
    files.put("e.csv", "id,keep_alive,publish,serial\na,5s,x,1\n");
    let shared = warnings(&files.read("from = 'e.csv'\nendpoints = ['a']").unwrap());
    for says in [
        "e.csv:1:4",
        "`keep_alive` is no column: all devices of a table share it; there are id, username,",
        "`publish` is",
    ] {
        assert!(shared.contains(says) && !shared.contains("serial is"), "{shared}");
    }
    assert!(said.contains("others than its owner can reach") && said.contains("which has passwords in it"), "{said}");
}

#[test]
fn of_very_many_broken_rows_some_are_told_and_all_are_counted_soon() {
    let files = Files::new();
    let errors = files.of("d.csv", format!("id,username\n{}", ",u\n".repeat(50_000)), "").unwrap_err();
    assert_eq!(errors.count(), 50_000);
    assert!(errors.to_string().ends_with("… and 49950 more\n\nfleet.toml: 50000 errors"), "{errors}");
    let errors = files.of("d.csv", format!("id\n{}", "a\n".repeat(50_000)), "").unwrap_err();
    assert_eq!(errors.count(), 49_999);
}
