//! Facts about processors, memory, disks and the machine itself.

use std::path::Path;

use super::Facts;
use crate::value::{Map, Value};

pub(super) fn loadavg(facts: &mut Facts) {
    let Some(text) = facts.text("/proc/loadavg") else { return };
    let loads = text.split_whitespace().filter_map(|word| word.parse::<f64>().ok());
    facts.set("loadavg", Value::map(["1m", "5m", "15m"].into_iter().zip(loads.map(Value::Float))));
}

pub(super) fn uptime(facts: &mut Facts) {
    let seconds = facts.text("/proc/uptime").and_then(|text| text.split('.').next()?.parse::<i64>().ok());
    if let Some(seconds) = seconds {
        facts.set("uptime_seconds", seconds);
    }
}

pub(super) fn processor(facts: &mut Facts) {
    let Some(text) = facts.text("/proc/cpuinfo") else { return };
    let cpus = Processors::of(&text);
    facts.set("processor", cpus.names);
    facts.set("processor_count", cpus.count);
    facts.set("processor_cores", cpus.cores);
    facts.set("processor_threads_per_core", cpus.threads);
    facts.set("processor_vcpus", cpus.count * cpus.cores * cpus.threads);
    facts.set("processor_nproc", cpus.logical);
    if !cpus.flags.is_empty() {
        facts.set("flags", cpus.flags);
    }
}

#[derive(Debug, Default, PartialEq)]
struct Processors {
    names: Vec<String>,
    flags: Vec<String>,
    logical: usize,
    count: usize,
    cores: usize,
    threads: usize,
}

impl Processors {
    fn of(cpuinfo: &str) -> Self {
        let mut found = Self::default();
        let mut sockets = Vec::new();
        let (mut cores, mut siblings) = (0, 0);
        for line in cpuinfo.lines() {
            let Some((name, value)) = line.split_once(':') else { continue };
            let value = value.trim();
            match name.trim() {
                "processor" => {
                    found.logical += 1;
                    found.names.push(value.to_owned());
                }
                "vendor_id" | "model name" | "Processor" | "cpu" | "Vendor" => found.names.push(value.to_owned()),
                "physical id" if !sockets.contains(&value) => sockets.push(value),
                "cpu cores" => cores = value.parse().unwrap_or(0),
                "siblings" => siblings = value.parse().unwrap_or(0),
                "flags" | "Features" if found.flags.is_empty() => found.flags = value.split_whitespace().map(str::to_owned).collect(),
                _ => {}
            }
        }
        found.logical = found.logical.max(1);
        if sockets.is_empty() || cores == 0 {
            (found.count, found.cores, found.threads) = (found.logical, 1, 1);
        } else {
            (found.count, found.cores, found.threads) = (sockets.len(), cores, (siblings / cores).max(1));
        }
        found
    }
}

pub(super) fn memory(facts: &mut Facts) {
    let Some(text) = facts.text("/proc/meminfo") else { return };
    let mb = |name: &str| -> i64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|rest| rest.split_whitespace().next()?.parse::<i64>().ok()).unwrap_or(0) / 1024
    };
    let (total, free, swap, swap_free) = (mb("MemTotal"), mb("MemFree"), mb("SwapTotal"), mb("SwapFree"));
    let (cached, buffers, swap_cached) = (mb("Cached"), mb("Buffers"), mb("SwapCached"));
    facts.set("memtotal_mb", total);
    facts.set("memfree_mb", free);
    facts.set("swaptotal_mb", swap);
    facts.set("swapfree_mb", swap_free);
    let part = |entries: &[(&'static str, i64)]| Value::map(entries.iter().map(|(name, value)| (*name, Value::Int(*value))));
    let free_of_cache = free + cached + buffers;
    let parts = [
        ("real", part(&[("total", total), ("used", total - free), ("free", free)])),
        ("nocache", part(&[("free", free_of_cache), ("used", total - free_of_cache)])),
        ("swap", part(&[("total", swap), ("free", swap_free), ("used", swap - swap_free), ("cached", swap_cached)])),
    ];
    facts.set("memory_mb", Value::map(parts));
}

/// The fact and the file below `/sys/devices/virtual/dmi/id`.
const DMI: &[(&str, &str)] = &[
    ("bios_date", "bios_date"),
    ("bios_vendor", "bios_vendor"),
    ("bios_version", "bios_version"),
    ("board_asset_tag", "board_asset_tag"),
    ("board_name", "board_name"),
    ("board_serial", "board_serial"),
    ("board_vendor", "board_vendor"),
    ("board_version", "board_version"),
    ("chassis_asset_tag", "chassis_asset_tag"),
    ("chassis_serial", "chassis_serial"),
    ("chassis_vendor", "chassis_vendor"),
    ("chassis_version", "chassis_version"),
    ("product_name", "product_name"),
    ("product_serial", "product_serial"),
    ("product_uuid", "product_uuid"),
    ("product_version", "product_version"),
    ("system_vendor", "sys_vendor"),
];

/// The kinds of chassis, by number, from 1.
const CHASSIS: &[&str] = &[
    "Other",
    "Unknown",
    "Desktop",
    "Low Profile Desktop",
    "Pizza Box",
    "Mini Tower",
    "Tower",
    "Portable",
    "Laptop",
    "Notebook",
    "Hand Held",
    "Docking Station",
    "All In One",
    "Sub Notebook",
    "Space-saving",
    "Lunch Box",
    "Main Server Chassis",
    "Expansion Chassis",
    "Sub Chassis",
    "Bus Expansion Chassis",
    "Peripheral Chassis",
    "RAID Chassis",
    "Rack Mount Chassis",
    "Sealed-case PC",
    "Multi-system",
    "CompactPCI",
    "AdvancedTCA",
    "Blade",
    "Blade Enclosure",
    "Tablet",
    "Convertible",
    "Detachable",
    "IoT Gateway",
    "Embedded PC",
    "Mini PC",
    "Stick PC",
];

pub(super) fn dmi(facts: &mut Facts) {
    let read = |file: &str| facts.text(format!("/sys/devices/virtual/dmi/id/{file}")).filter(|text| !text.is_empty());
    let values: Vec<_> = DMI.iter().map(|(name, file)| (*name, read(file).unwrap_or_else(|| "NA".to_owned()))).collect();
    let chassis = read("chassis_type").and_then(|text| text.parse::<usize>().ok());
    let form = chassis.and_then(|number| CHASSIS.get(number.checked_sub(1)?)).unwrap_or(&"NA");
    for (name, value) in values {
        facts.set(name, value);
    }
    facts.set("form_factor", *form);
}

/// A mounted file system, as `/proc/mounts` has it.
#[derive(Debug, PartialEq)]
struct Mount {
    device: String,
    place: String,
    kind: String,
    options: String,
    dump: i64,
    pass: i64,
}

impl Mount {
    fn of(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace().map(unescape);
        let (device, place, kind, options) = (words.next()?, words.next()?, words.next()?, words.next()?);
        let mut number = || words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
        Some(Self { device, place, kind, options, dump: number(), pass: number() })
    }

    /// Whether it lies on a disk or a server, rather than in the kernel.
    fn counts(&self) -> bool {
        (self.device.starts_with('/') || self.device.starts_with('\\') || self.device.contains(":/")) && self.kind != "none"
    }

    /// Whether asking how full it is could hang.
    fn is_remote(&self) -> bool {
        let remote =
            ["nfs", "nfs4", "cifs", "smb3", "smbfs", "ceph", "glusterfs", "lustre", "beegfs", "afs", "ncpfs", "9p", "gfs2", "ocfs2"];
        remote.contains(&self.kind.as_str()) || self.kind.starts_with("fuse.") || self.kind == "fuse" || self.device.contains(":/")
    }
}

/// Replaces the octal escapes of `/proc/mounts` (`\040` is a space).
fn unescape(word: &str) -> String {
    let mut out = String::new();
    let mut rest = word;
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        match after.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                out.push(char::from(byte));
                rest = after.get(3..).unwrap_or_default();
            }
            None => {
                out.push('\\');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

pub(super) fn mounts(facts: &mut Facts) {
    let Some(text) = facts.text("/proc/mounts").or_else(|| facts.text("/etc/mtab")) else { return };
    let uuids = links_to_devices(facts, "uuid");
    let mut mounts = Vec::new();
    for mount in text.lines().filter_map(Mount::of).filter(Mount::counts) {
        let device = facts.link_name(&mount.device).unwrap_or_else(|| mount.device.trim_start_matches("/dev/").to_owned());
        let uuid = uuids.iter().find(|(_, of)| *of == device).map_or("N/A", |(uuid, _)| uuid);
        let mut entry = Map::new();
        for (name, text) in [("mount", &mount.place), ("device", &mount.device), ("fstype", &mount.kind), ("options", &mount.options)] {
            entry.insert(name.into(), text.as_str().into());
        }
        entry.insert("dump".into(), mount.dump.into());
        entry.insert("passno".into(), mount.pass.into());
        entry.insert("uuid".into(), uuid.into());
        let full = if mount.is_remote() { None } else { facts.host.filesystem(Path::new(&mount.place)) };
        if let Some(full) = full {
            for (name, number) in full.facts() {
                entry.insert(name.into(), number.into());
            }
        }
        mounts.push(Value::from(entry));
    }
    facts.set("mounts", mounts);
}

/// Returns name and device of each link in `/dev/disk/by-<kind>`.
fn links_to_devices(facts: &Facts, kind: &str) -> Vec<(String, String)> {
    let folder = format!("/dev/disk/by-{kind}");
    let names = facts.list(&folder);
    names.into_iter().filter_map(|name| facts.link_name(format!("{folder}/{name}")).map(|device| (name, device))).collect()
}

pub(super) fn devices(facts: &mut Facts) {
    let links = ["id", "label", "uuid"].map(|kind| links_to_devices(facts, kind));
    let by_device = |device: &str| {
        let names =
            |links: &[(String, String)]| links.iter().filter(|(_, of)| of == device).map(|(name, _)| name.clone()).collect::<Vec<_>>();
        let [ids, labels, uuids] = &links;
        let empty = Value::list([]);
        Value::map([("ids", names(ids).into()), ("labels", names(labels).into()), ("masters", empty), ("uuids", names(uuids).into())])
    };
    let mut devices = Map::new();
    for name in facts.list("/sys/block").into_iter().filter(|name| !name.starts_with("ram")) {
        let folder = format!("/sys/block/{name}");
        let read = |file: &str| facts.text(format!("{folder}/{file}")).filter(|text| !text.is_empty());
        let sector: u64 = read("queue/hw_sector_size").and_then(|text| text.parse().ok()).unwrap_or(512);
        let is_virtual = facts.link(&folder).is_some_and(|target| target.to_string_lossy().contains("/virtual/"));
        let mut device = Map::new();
        device.insert("virtual".into(), i64::from(is_virtual).into());
        device.insert("links".into(), by_device(&name));
        for (entry, file) in [("vendor", "device/vendor"), ("model", "device/model"), ("serial", "device/serial")] {
            if let Some(text) = read(file) {
                device.insert(entry.into(), text.into());
            } else if entry != "serial" {
                device.insert(entry.into(), Value::Null);
            }
        }
        for (entry, file) in
            [("removable", "removable"), ("rotational", "queue/rotational"), ("support_discard", "queue/discard_granularity")]
        {
            device.insert(entry.into(), read(file).unwrap_or_default().into());
        }
        let scheduler = read("queue/scheduler").unwrap_or_default();
        let mode = scheduler.split_once('[').and_then(|(_, rest)| rest.split(']').next()).unwrap_or_default();
        device.insert("scheduler_mode".into(), mode.into());
        device.insert("sectorsize".into(), sector.to_string().into());
        let sectors: u64 = read("size").and_then(|text| text.parse().ok()).unwrap_or(0);
        device.insert("sectors".into(), sectors.into());
        device.insert("size".into(), human(sectors.saturating_mul(512)).into());
        device.insert("holders".into(), facts.list(format!("{folder}/holders")).into());
        let mut partitions = Map::new();
        for part in facts.list(&folder).into_iter().filter(|part| part.starts_with(&name)) {
            let read = |file: &str| facts.text(format!("{folder}/{part}/{file}"));
            let Some(start) = read("start") else { continue };
            let sectors: u64 = read("size").and_then(|text| text.parse().ok()).unwrap_or(0);
            let entries = [
                ("start", Value::from(start)),
                ("sectors", Value::from(sectors)),
                ("sectorsize", Value::from(sector)),
                ("size", human(sectors.saturating_mul(512)).into()),
                ("holders", facts.list(format!("{folder}/{part}/holders")).into()),
                ("links", by_device(&part)),
                ("uuid", links[2].iter().find(|(_, of)| *of == part).map(|(uuid, _)| uuid.clone()).into()),
            ];
            partitions.insert(part.into(), Value::map(entries));
        }
        device.insert("partitions".into(), partitions.into());
        devices.insert(name.into(), device.into());
    }
    facts.set("devices", devices);
}

/// Returns a size for a person: `20.00 GB`, in steps of 1024.
fn human(bytes: u64) -> String {
    #[allow(clippy::cast_precision_loss)]
    let mut size = bytes as f64;
    for unit in ["Bytes", "KB", "MB", "GB", "TB", "PB"] {
        if size < 1024.0 {
            return format!("{size:.2} {unit}");
        }
        size /= 1024.0;
    }
    format!("{size:.2} EB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_counted_by_socket_core_and_thread() {
        let one = "processor : 0\nvendor_id : X\nmodel name : Y\nphysical id : 0\nsiblings : 4\ncpu cores : 2\nflags : a b\n\n";
        let text: String = (0..4).map(|n| one.replace(": 0\nvendor", &format!(": {n}\nvendor"))).collect();
        let found = Processors::of(&text);
        assert_eq!((found.count, found.cores, found.threads, found.logical), (1, 2, 2, 4));
        assert_eq!(found.names[..3], ["0", "X", "Y"]);
        let arm = Processors::of("processor : 0\nBogoMIPS : 50\nFeatures : fp\n\nprocessor : 1\n");
        assert_eq!((arm.count, arm.cores, arm.threads), (2, 1, 1));
    }

    #[test]
    fn a_mount_point_may_have_a_space_and_a_server_is_not_asked() {
        let mount = Mount::of("srv:/x /mnt/my\\040disk nfs4 rw 0 0").expect("mount");
        assert_eq!((mount.place.as_str(), mount.counts(), mount.is_remote()), ("/mnt/my disk", true, true));
        let local = Mount::of("/dev/sda1 / ext4 rw 0 1").expect("mount");
        assert_eq!((local.counts(), local.is_remote(), local.pass), (true, false, 1));
        assert!(!Mount::of("proc /proc proc rw 0 0").expect("mount").counts());
    }

    #[test]
    fn sizes_read_well() {
        assert_eq!(human(20 * 1024 * 1024 * 1024), "20.00 GB");
        assert_eq!(human(0), "0.00 Bytes");
    }
}
