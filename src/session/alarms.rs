//! Alarms that a device tells again. A query for alarms (GB/T 28181-2016, 9.5) is answered by the same messages as alarms
//! that have just been raised, so what it finds would come as new. The caller says before it asks which alarms it has; what
//! the device tells of these within [`limits::ALARMS_RETOLD_S`] keeps the id that it had.
//!
//! Bounds: [`limits::ALARM_QUERIES_MAX`] devices, [`limits::ALARMS_KNOWN_MAX`] alarms of each.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use crate::gb28181::notice::Alarm;
use crate::id::DeviceId;
use crate::limits;

/// By what an alarm is the same: devices give it no number.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AlarmMark {
    /// Place of the channel.
    pub index: Option<u32>,
    pub method: u32,
    pub alarm_type: Option<u32>,
    /// As the device writes it.
    pub time: String,
}

impl AlarmMark {
    pub fn of(index: Option<u32>, alarm: &Alarm) -> AlarmMark {
        AlarmMark {
            index,
            method: alarm.method,
            alarm_type: alarm.alarm_type(),
            time: alarm.time.clone(),
        }
    }
}

/// What is known of the alarms of devices that are being asked for them.
#[derive(Debug, Default)]
pub(super) struct Retold {
    devices: BTreeMap<DeviceId, (Instant, HashMap<AlarmMark, i64>)>,
}

impl Retold {
    /// A device is about to be asked.
    pub fn expect(&mut self, now: Instant, device: DeviceId, known: Vec<(AlarmMark, i64)>) {
        self.devices.retain(|_, (until, _)| *until > now);
        if self.devices.len() >= limits::ALARM_QUERIES_MAX && !self.devices.contains_key(&device) {
            let first = self.devices.iter().min_by_key(|(_, (until, _))| *until);
            if let Some(first) = first.map(|(device, _)| *device) {
                self.devices.remove(&first);
            }
        }
        let until = now + Duration::from_secs(limits::ALARMS_RETOLD_S);
        let known = known.into_iter().take(limits::ALARMS_KNOWN_MAX).collect();
        self.devices.insert(device, (until, known));
    }

    /// The id of an alarm that is known; else it is from now on, by the id `fresh`.
    pub fn known(
        &mut self,
        now: Instant,
        device: DeviceId,
        mark: impl FnOnce() -> AlarmMark,
        fresh: i64,
    ) -> Option<i64> {
        let (until, known) = self.devices.get_mut(&device)?;
        if *until <= now {
            return None;
        }
        let mark = mark();
        let id = known.get(&mark).copied();
        if id.is_none() && known.len() < limits::ALARMS_KNOWN_MAX {
            known.insert(mark, fresh);
        }
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(n: u32) -> DeviceId {
        DeviceId(format!("3402000000111{n:07}").parse().expect("20 digits"))
    }

    fn mark(second: u32) -> AlarmMark {
        AlarmMark {
            index: Some(0),
            method: 5,
            alarm_type: Some(2),
            time: format!("2026-06-14T12:01:{second:02}"),
        }
    }

    #[test]
    fn an_alarm_keeps_its_id_while_its_device_is_asked() {
        let now = Instant::now();
        let mut retold = Retold::default();
        assert_eq!(retold.known(now, device(1), || mark(1), 7), None);
        retold.expect(now, device(1), vec![(mark(1), 5)]);
        assert_eq!(retold.known(now, device(1), || mark(1), 7), Some(5));
        assert_eq!(retold.known(now, device(1), || mark(2), 8), None);
        assert_eq!(retold.known(now, device(1), || mark(2), 9), Some(8));
        assert_eq!(retold.known(now, device(2), || mark(1), 7), None);
        let later = now + Duration::from_secs(limits::ALARMS_RETOLD_S);
        assert_eq!(retold.known(later, device(1), || mark(1), 7), None);
    }

    #[test]
    fn it_holds_what_it_may_hold() {
        let now = Instant::now();
        let mut retold = Retold::default();
        for n in 0..=limits::ALARM_QUERIES_MAX {
            let at = now + Duration::from_millis(n as u64);
            let device = device(u32::try_from(n).expect("few"));
            retold.expect(at, device, vec![(mark(1), 5)]);
        }
        assert_eq!(retold.devices.len(), limits::ALARM_QUERIES_MAX);
        assert_eq!(
            retold.known(now, device(0), || mark(1), 7),
            None,
            "the first had to go"
        );
        let many = (0..).map(|n| {
            (
                AlarmMark {
                    method: n,
                    ..mark(1)
                },
                i64::from(n),
            )
        });
        let many: Vec<_> = many.take(limits::ALARMS_KNOWN_MAX + 1).collect();
        retold.expect(now, device(1), many);
        let beyond = || AlarmMark {
            method: u32::MAX,
            ..mark(1)
        };
        assert_eq!(retold.known(now, device(1), beyond, 7), None);
        assert_eq!(retold.known(now, device(1), beyond, 8), None, "no room");
    }
}
