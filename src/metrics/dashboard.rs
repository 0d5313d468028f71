//! Defines the Grafana dashboards, made of the table of metrics: for Prometheus and for InfluxDB; which panels they have is elsewhere.
//!
//! A dashboard names no datasource of anybody's: it has a variable for that, and so it can be imported, provisioned from a
//! file and posted to Grafana's API as it is.

mod panels;
mod queries;

use serde_json::{Value, json};

pub use queries::Source;

use self::{
    panels::{Draw, Panel, SECTIONS, Section, Unit},
    queries::Ask,
};

/// Grafana's own number for the form of these (that of Grafana 11); later ones read it.
const SCHEMA: u32 = 39;
/// Columns of Grafana's grid.
const COLUMNS: usize = 24;
// The colours of what is well and what is not.
const GOOD: &str = "green";
const BAD: &str = "red";

/// The dashboard, as Grafana imports it: JSON, a line for each part.
pub fn dashboard(source: Source) -> String {
    format!("{:#}\n", of(source))
}

fn of(source: Source) -> Value {
    let (kind, name, uid) = match source {
        Source::Prometheus => ("prometheus", "mqfleet", "mqfleet-prometheus"),
        Source::Influx => ("influxdb", "mqfleet (InfluxDB)", "mqfleet-influx"),
    };
    let mut page = Page { source, kind, id: 0, y: 0, panels: Vec::new() };
    SECTIONS.iter().for_each(|section| page.section(section));
    json!({
        "id": null,
        "uid": uid,
        "title": name,
        "tags": ["mqtt", "mqfleet"],
        "schemaVersion": SCHEMA,
        "version": 1,
        "editable": true,
        "graphTooltip": 1,
        "timezone": "",
        "refresh": "10s",
        "time": { "from": "now-1h", "to": "now" },
        "annotations": { "list": [] },
        "links": [],
        "templating": { "list": variables(source, kind) },
        "panels": page.panels,
    })
}

/// What is chosen at the head of the dashboard.
fn variables(source: Source, kind: &str) -> Vec<Value> {
    let datasource = json!({
        "name": "datasource", "label": "Data source", "type": "datasource", "query": kind,
        "current": {}, "hide": 0, "includeAll": false, "multi": false, "options": [], "refresh": 1, "regex": "",
    });
    let of = |name: &str, label: &str, query: Value, hide: u8| {
        json!({
            "name": name, "label": label, "type": "query", "datasource": own(kind),
            "query": query, "definition": "", "refresh": 2, "sort": 1, "regex": "",
            "includeAll": true, "allValue": ".*", "multi": true, "hide": hide, "options": [],
            "current": { "selected": true, "text": ["All"], "value": ["$__all"] },
        })
    };
    let asked = |query: &str| match source {
        Source::Prometheus => json!({ "query": query, "refId": "variable" }),
        Source::Influx => json!(query),
    };
    let of_source = match source {
        Source::Prometheus => vec![
            of("fleet", "Fleet", asked("label_values(mqfleet_fleet_info, fleet)"), 0),
            // Whoever chooses a fleet need not know where it is scraped.
            of("instance", "Instance", asked("label_values(mqfleet_fleet_info{fleet=~\"$fleet\"}, instance)"), 2),
            of("endpoint", "Endpoint", asked("label_values(mqfleet_clients{instance=~\"$instance\"}, endpoint)"), 0),
        ],
        Source::Influx => vec![
            of("fleet", "Fleet", asked("SHOW TAG VALUES FROM \"mqfleet_clients\" WITH KEY = \"fleet\""), 0),
            of(
                "endpoint",
                "Endpoint",
                asked("SHOW TAG VALUES FROM \"mqfleet_clients\" WITH KEY = \"endpoint\" WHERE \"fleet\" =~ /^$fleet$/"),
                0,
            ),
        ],
    };
    [vec![datasource], of_source].concat()
}

fn own(kind: &str) -> Value {
    json!({ "type": kind, "uid": "${datasource}" })
}

/// A dashboard in the making.
struct Page {
    source: Source,
    kind: &'static str,
    /// The number of the last panel.
    id: usize,
    /// The first row of the grid that is free.
    y: usize,
    panels: Vec<Value>,
}

impl Page {
    fn section(&mut self, section: &Section) {
        self.id += 1;
        let mut row = json!({
            "id": self.id, "type": "row", "title": section.title, "collapsed": !section.is_open,
            "gridPos": { "x": 0, "y": self.y, "w": COLUMNS, "h": 1 }, "panels": [],
        });
        self.y += 1;
        let (mut x, mut height, mut panels) = (0, 0, Vec::new());
        for panel in section.panels {
            let (wide, high) = size(panel.draw);
            if x + wide > COLUMNS {
                (x, self.y, height) = (0, self.y + height, 0);
            }
            self.id += 1;
            panels.push(self.panel(panel, json!({ "x": x, "y": self.y, "w": wide, "h": high })));
            (x, height) = (x + wide, height.max(high));
        }
        self.y += height;
        if section.is_open {
            self.panels.push(row);
            self.panels.extend(panels);
        } else {
            row["panels"] = panels.into();
            self.panels.push(row);
        }
    }

    fn panel(&self, panel: &Panel, place: Value) -> Value {
        let targets = panel.asks.iter().zip('A'..).map(|(ask, letter)| self.target(panel, ask, letter));
        let helps: Vec<&str> = panel.asks.iter().map(|ask| ask.metric.help).collect();
        let mut value = json!({
            "id": self.id,
            "title": panel.title,
            "description": helps.join(" "),
            "datasource": own(self.kind),
            "gridPos": place,
            "targets": targets.collect::<Vec<_>>(),
        });
        let (kind, custom, options) = style(panel.draw);
        value["type"] = kind.into();
        value["options"] = options;
        value["fieldConfig"] = json!({ "defaults": { "custom": custom }, "overrides": [] });
        let defaults = &mut value["fieldConfig"]["defaults"];
        match panel.unit {
            Unit::Whether(words, well) => {
                let meaning = |n: u8| {
                    let color = if n == well { GOOD } else { BAD };
                    json!({ "index": n, "text": words[usize::from(n)], "color": color })
                };
                let options = json!({ "0": meaning(0), "1": meaning(1) });
                defaults["mappings"] = json!([{ "type": "value", "options": options }]);
            }
            unit => defaults["unit"] = name(unit).into(),
        }
        if panel.draw != Draw::Timeline && panel.draw != Draw::Table {
            defaults["min"] = 0.into();
        }
        // A bar for a minute at least: how often something happened within seconds tells nobody much.
        if panel.draw == Draw::Bars {
            value["interval"] = "1m".into();
        }
        if panel.draw == Draw::Table {
            value["transformations"] = self.tidied(panel);
        }
        value
    }

    fn target(&self, panel: &Panel, ask: &Ask, letter: char) -> Value {
        let (query, legend) = (ask.query(self.source), ask.legend(self.source));
        let is_now = matches!(panel.draw, Draw::Table | Draw::Number);
        let mut target = json!({ "refId": letter.to_string(), "datasource": own(self.kind) });
        match self.source {
            Source::Prometheus => {
                target["expr"] = query.into();
                target["editorMode"] = "code".into();
                target["range"] = (!is_now).into();
                target["instant"] = is_now.into();
                target["legendFormat"] = legend.into();
                target["format"] = if panel.draw == Draw::Table { "table" } else { "time_series" }.into();
            }
            Source::Influx => {
                target["query"] = query.into();
                target["rawQuery"] = true.into();
                target["alias"] = legend.into();
                target["resultFormat"] = if panel.draw == Draw::Table { "table" } else { "time_series" }.into();
            }
        }
        target
    }

    /// Leaves out of a table what says nothing.
    fn tidied(&self, panel: &Panel) -> Value {
        let mut hidden = serde_json::Map::new();
        hidden.insert("Time".to_owned(), true.into());
        if !matches!(panel.unit, Unit::Time) {
            for column in ["Value", "last"] {
                hidden.insert(column.to_owned(), true.into());
            }
        }
        let renamed = json!({ "Value": panel.title, "last": panel.title });
        json!([{ "id": "organize", "options": { "excludeByName": hidden, "renameByName": renamed } }])
    }
}

/// How much of the grid a panel takes: its width and height.
fn size(draw: Draw) -> (usize, usize) {
    match draw {
        Draw::Number => (4, 4),
        Draw::Lines | Draw::Bars | Draw::Areas | Draw::Timeline | Draw::Table => (12, 8),
    }
}

fn name(unit: Unit) -> &'static str {
    match unit {
        Unit::Count | Unit::Cores | Unit::Whether(..) => "short",
        Unit::Seconds => "s",
        Unit::Bytes => "bytes",
        Unit::BytesPerSecond => "Bps",
        Unit::PerSecond => "cps",
        Unit::Time => "dateTimeAsIso",
    }
}

/// A panel's type in Grafana, with how it is drawn and what it can be set to.
fn style(draw: Draw) -> (&'static str, Value, Value) {
    let legend = json!({
        "legend": { "displayMode": "list", "placement": "bottom", "showLegend": true, "calcs": [] },
        "tooltip": { "mode": "multi", "sort": "desc" },
    });
    let drawn = |style: &str, fill: u8, stacking: &str| {
        json!({
            "drawStyle": style, "lineWidth": 1, "fillOpacity": fill, "showPoints": "never",
            "stacking": { "mode": stacking, "group": "A" },
        })
    };
    match draw {
        Draw::Lines => ("timeseries", drawn("line", 0, "none"), legend),
        Draw::Bars => ("timeseries", drawn("bars", 80, "normal"), legend),
        Draw::Areas => ("timeseries", drawn("line", 60, "normal"), legend),
        Draw::Timeline => (
            "state-timeline",
            json!({ "lineWidth": 0, "fillOpacity": 80 }),
            json!({ "mergeValues": true, "showValue": "auto", "rowHeight": 0.9 }),
        ),
        Draw::Table => ("table", json!({ "align": "auto" }), json!({ "showHeader": true })),
        Draw::Number => (
            "stat",
            json!({}),
            json!({ "reduceOptions": { "calcs": ["lastNotNull"], "fields": "", "values": false },
                "colorMode": "value", "graphMode": "area", "textMode": "auto" }),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::table;

    /// All panels, those of closed sections too.
    fn all(dashboard: &Value) -> Vec<&Value> {
        let panels = dashboard["panels"].as_array().expect("panels");
        panels.iter().flat_map(|panel| panel["panels"].as_array().into_iter().flatten().chain([panel])).collect()
    }

    #[test]
    fn every_metric_is_drawn() {
        let asked = SECTIONS.iter().flat_map(|section| section.panels).flat_map(|panel| panel.asks);
        let drawn: Vec<_> = asked.map(|ask| ask.metric).chain(panels::UNDRAWN.iter().copied()).collect();
        let missing: Vec<_> = table::ALL.iter().filter(|metric| !drawn.contains(metric)).map(|m| m.base).collect();
        assert!(missing.is_empty(), "a panel in src/metrics/dashboard/panels.rs draws: {missing:?}");
    }

    #[test]
    fn labels_that_are_asked_for_are_there() {
        for ask in SECTIONS.iter().flat_map(|section| section.panels).flat_map(|panel| panel.asks) {
            let labels = ask.by.iter().copied().chain(ask.only.map(|(label, _)| label));
            for label in labels {
                assert!(ask.metric.labels.contains(&label), "{} has no label {label}", ask.metric.base);
            }
        }
    }

    #[test]
    fn grafana_finds_what_it_needs() {
        for source in [Source::Prometheus, Source::Influx] {
            let dashboard = of(source);
            assert!(dashboard.get("__inputs").is_none() && dashboard["id"].is_null() && dashboard["uid"].is_string());
            let mut taken: Vec<(u64, u64, u64, u64)> = Vec::new();
            let mut ids = std::collections::BTreeSet::new();
            for panel in all(&dashboard) {
                assert!(ids.insert(panel["id"].as_u64()), "{} twice", panel["id"]);
                assert!(!panel["title"].as_str().expect("a title").is_empty());
                let at = |key: &str| panel["gridPos"][key].as_u64().expect("a place");
                let (x, y, w, h) = (at("x"), at("y"), at("w"), at("h"));
                assert!(x + w <= COLUMNS as u64 && w > 0 && h > 0);
                let overlaps = |&(x2, y2, w2, h2): &_| x < x2 + w2 && x2 < x + w && y < y2 + h2 && y2 < y + h;
                assert!(!taken.iter().any(overlaps), "{} is on another one", panel["title"]);
                taken.push((x, y, w, h));
                for target in panel["targets"].as_array().into_iter().flatten() {
                    assert_eq!(target["datasource"]["uid"], "${datasource}");
                    let query = target.get("expr").or(target.get("query")).and_then(Value::as_str).expect("a query");
                    assert!(query.contains("mqfleet_") && target["refId"].is_string(), "{query}");
                }
            }
        }
    }
}
