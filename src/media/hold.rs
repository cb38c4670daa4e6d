//! What becomes of pictures with loss: held back until a decoder can start anew, or shown as they are.
//!
//! A picture that misses packets, and every one that refers to it, decodes to mosaic or not at all (ITU-T H.264, 8.2.5: what
//! is missing stays missing until the next IDR picture). Held back, a viewer sees the last good picture a moment longer.
//! Sound is given on as it comes: a piece stands for itself.
//!
//! Not done: guessing which pictures no other one refers to; most devices do not mark them.
//!
//! Bounds: no memory but two counters.

use super::frame::{Frame, TrackId};

/// What is done with pictures that miss something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LossPolicy {
    /// The damaged picture and those after it are left out, up to the next undamaged key frame.
    #[default]
    HoldBack,
    /// Everything is given on, damage marked in the frame.
    Show,
}

/// What is to be done with one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Give,
    /// Left out. `ask` = this is where it begins: the device should be asked for a key frame.
    Hold {
        ask: bool,
    },
}

/// Decides frame by frame, in their order.
#[derive(Debug, Default)]
pub struct HoldBack {
    policy: LossPolicy,
    holding: bool,
    held: u64,
}

impl HoldBack {
    pub fn new(policy: LossPolicy) -> HoldBack {
        HoldBack {
            policy,
            ..HoldBack::default()
        }
    }

    /// Changes the policy from the next frame on.
    pub fn set_policy(&mut self, policy: LossPolicy) {
        self.policy = policy;
        self.holding &= policy == LossPolicy::HoldBack;
    }

    /// Frames left out so far.
    pub fn held(&self) -> u64 {
        self.held
    }

    /// Whether a key frame is waited for.
    pub fn is_holding(&self) -> bool {
        self.holding
    }

    pub fn reset_count(&mut self) {
        self.held = 0;
    }

    pub fn judge(&mut self, frame: &Frame) -> Verdict {
        match (self.policy, frame.track) {
            (LossPolicy::Show, _) | (LossPolicy::HoldBack, TrackId::Audio) => return Verdict::Give,
            (LossPolicy::HoldBack, TrackId::Video) => {}
        }
        if frame.damaged {
            let ask = !self.holding;
            self.holding = true;
            self.held += 1;
            return Verdict::Hold { ask };
        }
        if self.holding && !frame.key {
            self.held += 1;
            return Verdict::Hold { ask: false };
        }
        self.holding = false;
        Verdict::Give
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::MediaTime;
    use bytes::Bytes;
    use std::time::Instant;

    fn frame(track: TrackId, key: bool, damaged: bool) -> Frame {
        Frame {
            track,
            dts: MediaTime(0),
            pts: MediaTime(0),
            key,
            damaged,
            payload: Bytes::new(),
            received: Instant::now(),
        }
    }

    /// Pictures as letters: K key, p not, capital X and x the same damaged; a is sound.
    fn run(policy: LossPolicy, frames: &str) -> (String, u64, usize) {
        let mut hold = HoldBack::new(policy);
        let mut given = String::new();
        let mut asked = 0;
        for letter in frames.chars() {
            let track = match letter {
                'a' => TrackId::Audio,
                _ => TrackId::Video,
            };
            let frame = frame(
                track,
                matches!(letter, 'K' | 'X'),
                matches!(letter, 'X' | 'x'),
            );
            match hold.judge(&frame) {
                Verdict::Give => given.push(letter),
                Verdict::Hold { ask } => asked += usize::from(ask),
            }
        }
        (given, hold.held(), asked)
    }

    #[test]
    fn field_19_nothing_that_refers_to_a_damaged_picture_is_given_on() {
        assert_eq!(
            run(LossPolicy::HoldBack, "KppxpapKpp"),
            ("KppaKpp".into(), 3, 1)
        );
        // The key frame that was waited for is damaged too.
        assert_eq!(run(LossPolicy::HoldBack, "KxXpKp"), ("KKp".into(), 3, 1));
        // A second loss after a recovery asks again.
        assert_eq!(run(LossPolicy::HoldBack, "KxKxK"), ("KKK".into(), 2, 2));
    }

    #[test]
    fn shown_is_everything() {
        assert_eq!(run(LossPolicy::Show, "KxpaXpK"), ("KxpaXpK".into(), 0, 0));
    }

    #[test]
    fn the_policy_can_change_in_between() {
        let mut hold = HoldBack::default();
        hold.judge(&frame(TrackId::Video, false, true));
        assert!(hold.is_holding());
        hold.set_policy(LossPolicy::Show);
        assert_eq!(
            hold.judge(&frame(TrackId::Video, false, false)),
            Verdict::Give
        );
        hold.set_policy(LossPolicy::HoldBack);
        assert_eq!(
            hold.judge(&frame(TrackId::Video, false, false)),
            Verdict::Give
        );
    }
}
