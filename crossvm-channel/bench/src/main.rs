//! x
mod contenders;
mod end;
mod measure;
mod memory;
use contenders::*;
use measure::*;
fn main() {
    let a: Vec<String> = std::env::args().collect();
    if a.len() == 4 {
        let c = CONTENDERS.iter().find(|c| c.name == a[1]).unwrap();
        let size = a[2].parse().unwrap();
        let m = match a[3].as_str() { "count" => Measure::Counted, _ => Measure::TwoThreads };
        let n = if m == Measure::Counted { 1000 } else { 30_000_000 };
        c.run(m, size, n).unwrap();
        return;
    }
    if std::env::var_os("FIRST").is_some() { go_first() }
    let only = std::env::var("ONLY").unwrap_or_default();
    for size in SIZES {
        for m in [Measure::TwoThreads, Measure::RoundTrip, Measure::OneThread] {
            if !format!("{size}{m:?}").contains(&only) { continue }
            print!("{size:6} {m:?}:");
            for c in &CONTENDERS {
                let mut n = 16u64;
                let mut v = vec![];
                loop {
                    let t = c.run(m, size, n).unwrap(); std::thread::sleep(t);
                    if t.as_millis() > 8 || v.len() > 0 { v.push((t.as_secs_f64() * 1e9 / n as f64 * 100.) as u64); if v.len() > 20 { break } } else { n *= 2; }
                }
                v.sort();
                print!(" {}={:.2}[{:.2}..{:.2}]", c.name, v[v.len() / 2] as f64/100., v[0] as f64/100., v[v.len() - 1] as f64/100.);
            }
            println!();
        }
    }
}
