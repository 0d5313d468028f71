//! How long it takes until 100,000 devices of an inventory are read, checked and in the table, beside a bare program that only takes the file apart.

use std::{fmt::Write as _, fs, hint::black_box, os::unix::fs::PermissionsExt, path::Path, sync::Arc, time::Instant};

use mqfleet::{clock::Moment, fleet_file::load, model::Model};
use mqfleet_test_support::{
    fleet_file::FleetFile,
    process,
    report::{Runs, Table, count, setting, verdict},
};

/// Seconds that reading alone, and all of it, may take.
const AIM_READ: f64 = 1.0;
const AIM_ALL: f64 = 1.5;

/// How a file's name ends, what stands in it, and how a bare program takes it apart.
type Kind = (&'static str, fn(usize) -> String, fn(&Path) -> usize);

fn main() {
    let (devices, rounds) = (setting("MQFLEET_BENCH_DEVICES", 100_000), setting("MQFLEET_BENCH_ROUNDS", 5));
    println!("inventory: {} devices, {rounds} rounds", count(devices));
    println!("  {}\n", process::machine());
    let kinds: [Kind; 3] = [("csv", csv, bare_csv), ("json", json, bare_json), ("jsonl", lines, bare_json)];
    let mut table = Table::new(["median (lowest to highest)", "bare", "read and checked", "and in the table"]);
    let mut verdicts = Vec::new();
    for (kind, text, bare) in kinds {
        let file = FleetFile::new(&format!(
            "[endpoint.a]\nurl = 'mqtt://127.0.0.1'\n[label.site.hall-3]\nprobe = {{ kind = 'ack' }}\n[[client]]\n\
             from = 'devices.{kind}'\nendpoints = ['a']\npublish = {{ topic = 'data/%c', every = '10s' }}\n"
        ));
        let inventory = file.dir.path().join(format!("devices.{kind}"));
        fs::write(&inventory, text(devices)).expect("a file");
        fs::set_permissions(&inventory, PermissionsExt::from_mode(0o600)).expect("its mode");
        let (mut bares, mut reads, mut alls) = (Runs::default(), Runs::default(), Runs::default());
        for _ in 0..rounds {
            let begin = Instant::now();
            black_box(bare(&inventory));
            bares.push_time(begin.elapsed());
            let begin = Instant::now();
            let loaded = load(Path::new(file.path())).unwrap_or_else(|errors| panic!("{errors}"));
            reads.push_time(begin.elapsed());
            assert_eq!((loaded.fleet.clients.len(), loaded.warnings.len()), (devices, 0));
            let mut model = Model::new(Arc::new(loaded.fleet), Moment::now());
            black_box(&mut model);
            alls.push_time(begin.elapsed());
        }
        table.row([kind.to_owned(), bares.times(), reads.times(), alls.times()]);
        let ratio = reads.median() / bares.median();
        verdicts.push(format!("{kind}: read in {ratio:.1} times the bare program's time"));
        verdicts.push(format!("{kind}, read: {:.2} s; {}", reads.median(), verdict(reads.median(), AIM_READ, "s")));
        verdicts.push(format!("{kind}, all: {:.2} s; {}", alls.median(), verdict(alls.median(), AIM_ALL, "s")));
    }
    table.print();
    verdicts.iter().for_each(|words| println!("  {words}"));
}

fn csv(devices: usize) -> String {
    let mut text = String::from("id,username,password,labels.site,labels.serial,note\n");
    for n in 0..devices {
        let _ = writeln!(text, "press-{n:06},op-{n},secret-{n},hall-{},A-{n},\"made up, {n}\"", n % 40);
    }
    text
}

fn json(devices: usize) -> String {
    format!("[\n{}\n]\n", objects(devices).join(",\n"))
}

fn lines(devices: usize) -> String {
    objects(devices).join("\n")
}

fn objects(devices: usize) -> Vec<String> {
    let object = |n: usize| {
        format!(
            "{{\"id\":\"press-{n:06}\",\"username\":\"op-{n}\",\"password\":\"secret-{n}\",\"labels\":{{\"site\":\
             \"hall-{}\",\"serial\":\"A-{n}\"}},\"note\":\"made up\"}}",
            n % 40
        )
    };
    (0..devices).map(object).collect()
}

/// Every cell as text.
fn bare_csv(path: &Path) -> usize {
    let mut reader = ::csv::Reader::from_path(path).expect("a file");
    reader.records().map(|record| record.expect("a record").len()).sum()
}

/// Every value as a tree.
fn bare_json(path: &Path) -> usize {
    let text = fs::read_to_string(path).expect("a file");
    let values = serde_json::Deserializer::from_str(&text).into_iter::<serde_json::Value>();
    values.map(|value| value.expect("a value").as_array().map_or(1, Vec::len)).sum()
}
