//! What starts a workflow: events from outside, or a clock.

use serde_saphyr::Spanned;

use super::{
    super::{
        cron::{Cron, CronError, TIMEZONE_DEFAULT, timezone},
        workflow::Trigger,
        yaml::OnYaml,
    },
    Parser,
};
use crate::{ids::EventType, names};

const BY_CLOCK: &str = "for a clock, write `on: {cron: '0 9 * * 1-5'}`";

impl Parser<'_, '_> {
    pub(super) fn trigger(&mut self, yaml: &Spanned<OnYaml>) -> Option<Trigger> {
        let on = &yaml.value;
        let when = on.when.as_ref().and_then(|when| self.condition(when));
        if let (Some(zone), None) = (&on.timezone, &on.cron) {
            let message =
                "`timezone` says where the clock of `cron` stands, and there is no `cron`";
            self.report.at(zone.referenced, message, None);
        }
        match (&on.event, &on.cron) {
            (Some(event), None) => {
                if event.value.as_str() == names::event::CRON {
                    let message = format!(
                        "events of type `{}` are made by Flotilla itself",
                        names::event::CRON
                    );
                    self.report.at(event.referenced, message, Some(BY_CLOCK));
                }
                Some(Trigger {
                    event: event.value.clone(),
                    when,
                    cron: None,
                })
            }
            (None, Some(given)) => {
                let cron = self.cron(given, on.timezone.as_ref())?;
                Some(Trigger {
                    event: clock_event()?,
                    when,
                    cron: Some(cron),
                })
            }
            (Some(_), Some(cron)) => {
                let message = "a workflow is started by an `event` or by `cron`, not by both";
                let help = "keep one of them; a second workflow can `run` this one";
                self.report.at(cron.referenced, message, Some(help));
                None
            }
            (None, None) => {
                let message = "`on` needs an `event`, or `cron`";
                let help = format!("write `on: {{event: alertmanager.alert}}`; {BY_CLOCK}");
                self.report.at(yaml.referenced, message, Some(&help));
                None
            }
        }
    }

    fn cron(&mut self, given: &Spanned<String>, zone: Option<&Spanned<String>>) -> Option<Cron> {
        let name = zone.map_or(TIMEZONE_DEFAULT, |zone| zone.value.as_str());
        let place = zone.map_or(given.referenced, |zone| zone.referenced);
        let found = timezone(name).map_err(|error| (place, error));
        let cron = found.and_then(|zone| {
            Cron::new(&given.value, name, zone).map_err(|error| (given.referenced, error))
        });
        let told = |(place, error): (_, CronError)| {
            self.report.at(place, error.message, Some(&error.help));
        };
        cron.map_err(told).ok()
    }
}

/// The word is a type; the compiler cannot know.
fn clock_event() -> Option<EventType> {
    names::event::CRON.parse().ok()
}
