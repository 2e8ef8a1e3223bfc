//! qc.geojson, as QuPath (0.4 or newer) imports it: tiles and alerts in level-0 pixels.

use std::error::Error;
use std::io::Write;

use coverslip_plugin_abi as abi;
use coverslip_plugin_abi::names::{FLAGS, alert_name, status_name};
use serde_json::{Map, Value, json};

use super::class::class_of;
use crate::play::Played;

/// The colour of alert boxes.
const ALERT: [u8; 3] = [214, 39, 40];

/// One feature per tile (objectType "tile") and per alert (objectType "annotation"), a line each.
pub(super) fn write(out: &mut dyn Write, played: &Played) -> Result<(), Box<dyn Error>> {
    writeln!(out, "{{\"type\":\"FeatureCollection\",\"features\":[")?;
    let whole = played.extent;
    let alerts = played.alerts.iter().map(|alert| alert_feature(alert, whole));
    let tiles = played.collected.tiles.iter().map(|tile| tile_feature(&tile.result));
    let mut separator = "";
    for feature in tiles.chain(alerts) {
        write!(out, "{separator}")?;
        serde_json::to_writer(&mut *out, &feature)?;
        separator = ",\n";
    }
    writeln!(out, "\n]}}")?;
    Ok(())
}

fn tile_feature(tile: &abi::TileResult) -> Value {
    let class = class_of(tile);
    let mut measurements = Map::new();
    // JSON has no NaN: scores that were not measured are left out, and p-values without a profile.
    for (bit, name) in FLAGS.iter().enumerate() {
        let score = f64::from(tile.scores[bit]);
        if tile.flags_checked & (1 << bit) != 0 && score.is_finite() {
            measurements.insert(format!("score {}", name.replace('_', " ")), json!(score));
        }
        let p = f64::from(tile.p_values[bit]);
        if p.is_finite() {
            measurements.insert(format!("p {}", name.replace('_', " ")), json!(p));
        }
    }
    measurements.insert("coverage".into(), json!(tile.coverage));
    if tile.status == abi::TILE_DONE {
        measurements.insert("active features".into(), json!(tile.active_count));
    }
    let flags: Vec<&str> = names_of(tile.flags_raised);
    json!({
        "type": "Feature",
        "geometry": rectangle(tile.x, tile.y, tile.width.into(), tile.height.into()),
        "properties": {
            "objectType": "tile",
            "name": format!("{} {}", tile.column, tile.row),
            "classification": { "name": class.name, "color": class.color },
            "measurements": measurements,
            "metadata": { "status": status_name(tile.status), "flags": flags.join(" "), "pass": tile.pass.to_string() },
        },
    })
}

fn alert_feature(alert: &abi::Alert, whole: (u32, u32)) -> Value {
    let geometry = match alert.width {
        0 => rectangle(0, 0, whole.0.into(), whole.1.into()),
        width => rectangle(alert.x, alert.y, width, alert.height),
    };
    let name = format!("Alert: {}", alert_name(alert.code).replace('_', " "));
    json!({
        "type": "Feature",
        "geometry": geometry,
        "properties": {
            "objectType": "annotation",
            "name": name,
            "isLocked": true,
            "classification": { "name": name, "color": ALERT },
            "measurements": { "strength": alert.strength, "threshold": alert.threshold },
        },
    })
}

fn names_of(flags: u32) -> Vec<&'static str> {
    FLAGS.iter().enumerate().filter(|(bit, _)| flags & (1 << bit) != 0).map(|(_, name)| *name).collect()
}

fn rectangle(x: i64, y: i64, width: u64, height: u64) -> Value {
    let (right, bottom) = (x + width as i64, y + height as i64);
    json!({ "type": "Polygon", "coordinates": [[[x, y], [right, y], [right, bottom], [x, bottom], [x, y]]] })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn qupath_finds_what_it_looks_for() {
        let played = super::super::fabricated::played();
        let mut out = Vec::new();
        write(&mut out, &played).unwrap();
        let all: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(all["type"], "FeatureCollection");
        let features = all["features"].as_array().unwrap();
        assert_eq!(features.len(), played.collected.tiles.len() + played.alerts.len());
        for (feature, tile) in features.iter().zip(&played.collected.tiles) {
            assert_eq!(feature["type"], "Feature");
            assert_eq!(feature["properties"]["objectType"], "tile");
            let ring = feature["geometry"]["coordinates"][0].as_array().unwrap();
            assert_eq!((ring.len(), &ring[0]), (5, &ring[4]), "a closed ring");
            assert_eq!(
                ring[2],
                json!([tile.result.x + i64::from(tile.result.width), tile.result.y + i64::from(tile.result.height)])
            );
            let classification = &feature["properties"]["classification"];
            assert!(classification["name"].is_string());
            assert_eq!(classification["color"].as_array().unwrap().len(), 3);
            let values = feature["properties"]["measurements"].as_object().unwrap();
            assert!(values.values().all(Value::is_number));
            let p = tile.result.p_values[4];
            assert_eq!(values.get("p color shift").and_then(Value::as_f64), (!p.is_nan()).then_some(f64::from(p)));
        }
        assert_eq!(features.last().unwrap()["properties"]["objectType"], "annotation");
    }
}
