//! The table: a row a figure, as text for people and as one JSON object for machines.

use serde_json::{Value, json};

/// A figure beside its floors.
pub struct Row {
    pub work: String,
    pub unit: &'static str,
    pub value: f64,
    /// Each with what it is; measured in the same run.
    pub floors: Vec<(String, f64)>,
    /// Not to be exceeded. `None`: nothing is promised at this size.
    pub must_reach: Option<f64>,
    /// What a reader must know to believe the figure: losses, rates, the slowest viewer.
    pub notes: Vec<(&'static str, f64)>,
}

impl Row {
    fn cells(&self) -> [String; 4] {
        let floors: Vec<String> = self
            .floors
            .iter()
            .map(|(what, value)| format!("{} ({what})", short(*value)))
            .collect();
        let must_reach = self.must_reach.map_or("-".to_owned(), |most| {
            let met = if self.value <= most { "met" } else { "missed" };
            format!("{}, {met}", short(most))
        });
        let floors = if floors.is_empty() {
            "-".to_owned()
        } else {
            floors.join(", ")
        };
        [
            format!("{}, {}", self.work, self.unit),
            short(self.value),
            floors,
            must_reach,
        ]
    }

    fn json(&self) -> Value {
        let floors: Vec<Value> = self
            .floors
            .iter()
            .map(|(what, value)| json!({ "what": what, "value": round(*value) }))
            .collect();
        let notes = self
            .notes
            .iter()
            .map(|(name, value)| ((*name).to_owned(), json!(round(*value))));
        json!({
            "work": self.work, "unit": self.unit, "gantry": round(self.value), "floor": floors,
            "must_reach": self.must_reach, "met": self.must_reach.map(|most| self.value <= most),
            "notes": Value::Object(notes.collect()),
        })
    }
}

/// Three significant figures.
fn round(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return 0.0;
    }
    let scale = 10f64.powi(2 - value.abs().log10().floor() as i32);
    if scale < 1.0 {
        value.round()
    } else {
        (value * scale).round() / scale
    }
}

fn short(value: f64) -> String {
    format!("{}", round(value))
}

/// The rows with columns aligned, the notes of each below it.
pub fn text(rows: &[Row]) -> String {
    let head = ["work", "Gantry", "floor, same run", "must reach"].map(str::to_owned);
    let cells: Vec<[String; 4]> = rows.iter().map(Row::cells).collect();
    let width = |i: usize| {
        let lens = cells.iter().chain([&head]).map(|c| c[i].len());
        lens.max().unwrap_or(0)
    };
    let widths = [width(0), width(1), width(2), width(3)];
    let line = |c: &[String; 4]| {
        let padded = c
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:width$}"));
        format!("| {} |\n", padded.collect::<Vec<_>>().join(" | "))
    };
    let mut out = line(&head);
    out.push_str(&line(&widths.map(|width| "-".repeat(width))));
    cells.iter().for_each(|c| out.push_str(&line(c)));
    out.push('\n');
    for row in rows.iter().filter(|r| !r.notes.is_empty()) {
        let notes = row
            .notes
            .iter()
            .map(|(name, value)| format!("{name} {}", short(*value)));
        out.push_str(&format!(
            "{}: {}\n",
            row.work,
            notes.collect::<Vec<_>>().join(", ")
        ));
    }
    out
}

pub fn json(rows: &[Row], quick: bool) -> Value {
    json!({
        "bench": "node",
        "quick": quick,
        "optimised": !cfg!(debug_assertions),
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "rows": rows.iter().map(Row::json).collect::<Vec<_>>(),
    })
}
