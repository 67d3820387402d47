//! Everything that is wrong with a body, at once. serde stops at the first thing it cannot read: here that is noted and taken
//! away, and the rest is read again, until what is left can be read and its own rules asked about it.

use super::path::{Path, Step, at, at_mut, before_removal, parse, remove, text};
use super::shape::Shape;
use super::wording::{Said, Words, said};
use crate::problem::FieldProblem;
use exchange::refused::FieldError;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use serde_path_to_error::Segment;
use std::collections::{BTreeMap, BTreeSet};
use utoipa::ToSchema;

/// The most faults that are listed; whoever sent more has enough to do.
pub(super) const FAULTS_MAX: usize = 50;
/// The most readings of one document. Only those that find a fault, or take away what it was in, come about: a few for each fault.
const ROUNDS_MAX: usize = 10 * FAULTS_MAX;
/// How deep a fault is looked for where serde lost its place.
const DEPTH_MAX: usize = 8;

/// What a request may have as its body.
pub(crate) trait RequestBody: DeserializeOwned + Serialize + ToSchema {
    /// What its own rules find wrong with it, without a look into the books: the engine finds that again, and more.
    fn problems(&self) -> Vec<FieldError> {
        Vec::new()
    }

    /// Members that stand in for those that are missing or cannot be read, so that its rules can be asked about the rest. What
    /// they say of a member that stood in is not passed on, so these must not make another one look wrong.
    fn stand_in() -> Map<String, Value> {
        Map::new()
    }
}

/// What serde could not read, and where.
struct Misread {
    at: Path,
    message: String,
}

fn first_misread<T: DeserializeOwned>(document: &Value) -> Result<T, Misread> {
    serde_path_to_error::deserialize(document).map_err(|error| {
        let mut path = Path::new();
        for segment in error.path() {
            match segment {
                Segment::Seq { index } => path.push(Step::Element(*index)),
                Segment::Map { key } => path.push(Step::Member(key.clone())),
                // `{"http": {...}}`: the choice is a member; where it is a text, nothing is inside.
                Segment::Enum { variant } => {
                    let inner = Step::Member(variant.clone());
                    let holds = at(document, &path).and_then(Value::as_object);
                    path.extend(holds.filter(|members| members.contains_key(variant)).map(|_| inner));
                }
                Segment::Unknown => {}
            }
        }
        Misread { at: path, message: error.inner().to_string() }
    })
}

/// Everything that is wrong with a document that cannot be read, in the order of the fields' names; never empty, and at most one
/// more than [`FAULTS_MAX`].
pub(super) fn find<T: RequestBody>(document: Value) -> Vec<FieldProblem> {
    let mut search =
        Search { shape: Shape::of::<T>(), left: document, removed: BTreeSet::new(), faults: BTreeMap::new() };
    search.lists_for_objects();
    search.run::<T>();
    search.reported()
}

/// A search for all faults.
struct Search {
    shape: Shape,
    /// What is left of the document.
    left: Value,
    /// Where something was taken away, in the document as it was sent.
    removed: BTreeSet<Path>,
    /// By where they are in the document as it was sent.
    faults: BTreeMap<Path, Vec<Words>>,
}

impl Search {
    /// Every round takes something away, fills in a member, or is the last.
    fn run<T: RequestBody>(&mut self) {
        for _ in 0..ROUNDS_MAX {
            if self.faults.len() > FAULTS_MAX {
                return;
            }
            let misread = match first_misread::<T>(&self.left) {
                Ok(value) => return self.ask_its_rules(&value),
                Err(misread) => self.located::<T>(misread),
            };
            let goes_on = match said(&misread.message) {
                Said::Missing(name) => self.missing::<T>(&misread.at, name),
                said => self.wrong(&misread.at, &said),
            };
            if !goes_on {
                return;
            }
        }
    }

    /// serde also reads a list where an object is due, field by field in the order they are written in the code. That order is no
    /// promise of the API's.
    fn lists_for_objects(&mut self) {
        // The last first, so that the indices of the others stay.
        for at in self.shape.lists_for_objects(&self.left).into_iter().rev().take(FAULTS_MAX) {
            let words =
                Words { problem: "is a list".to_owned(), fix: "send an object with named fields".to_owned() };
            self.faults.insert(at.clone(), vec![words]);
            if remove(&mut self.left, &at) {
                self.removed.insert(at);
            }
        }
    }

    /// Notes what is wrong at a place and takes it away; whether there is anything left to look at.
    fn wrong(&mut self, place: &[Step], said: &Said<'_>) -> bool {
        let mut place = place.to_vec();
        if let Said::Unknown { name, .. } | Said::Duplicate(name) = said {
            let name = Step::Member((*name).to_owned());
            if place.last() != Some(&name) {
                place.push(name);
            }
        }
        let before = before_removal(&place, &self.removed);
        // A list from which an entry was taken away may be too short for it.
        let lost_a_part =
            self.removed.iter().any(|removed| removed.len() > before.len() && removed.starts_with(&before));
        if !lost_a_part {
            let asked_for = self.shape.asked_for(&self.left, &place);
            self.faults.entry(before).or_insert_with(|| vec![said.words(asked_for.as_deref())]);
        }
        self.take_away(&place)
    }

    /// Notes the members that the object at a place misses. They are filled in where something can stand in for them; else the
    /// object is taken away.
    fn missing<T: RequestBody>(&mut self, place: &[Step], name: &str) -> bool {
        let mut names = self.shape.required(&self.left, place);
        names.push(name.to_owned());
        let present = at(&self.left, place).and_then(Value::as_object);
        names.retain(|name| present.is_none_or(|members| !members.contains_key(name)));
        for name in &names {
            let mut member = place.to_vec();
            member.push(Step::Member(name.clone()));
            let before = before_removal(&member, &self.removed);
            if !self.removed.contains(&before) {
                let asked_for = self.shape.asked_for(&self.left, &member);
                self.faults
                    .entry(before)
                    .or_insert_with(|| vec![Said::Missing(name).words(asked_for.as_deref())]);
            }
        }
        match (place, &mut self.left) {
            ([], Value::Object(members)) => {
                let mut stand_in = T::stand_in();
                let known = names.iter().filter_map(|name| stand_in.remove_entry(name));
                members.extend(known);
                members.contains_key(name)
            }
            _ => self.take_away(place),
        }
    }

    fn take_away(&mut self, place: &[Step]) -> bool {
        let before = before_removal(place, &self.removed);
        let is_gone = remove(&mut self.left, place);
        if is_gone {
            self.removed.insert(before);
        }
        is_gone
    }

    /// What the type's own rules say of what could be read, where that is as it was sent.
    fn ask_its_rules<T: RequestBody>(&mut self, value: &T) {
        let touched: Vec<Path> = self.faults.keys().chain(&self.removed).cloned().collect();
        for FieldError { field, problem, fix } in value.problems() {
            let before = before_removal(&parse(&field), &self.removed);
            let hangs_on = |other: &Path| other.starts_with(&before) || before.starts_with(other);
            if !touched.iter().any(hangs_on) {
                let words = Words { problem: problem.into_owned(), fix: fix.into_owned() };
                self.faults.entry(before).or_default().push(words);
            }
        }
    }

    /// Within an object that is read by a tag in it, serde says what is wrong but not where: that is the first member which,
    /// added to the tag and those before it, brings the error about.
    fn located<T: RequestBody>(&mut self, mut misread: Misread) -> Misread {
        for _ in 0..DEPTH_MAX {
            let Some(inner) = self.guilty_member::<T>(&misread) else { break };
            misread.at.push(Step::Member(inner));
        }
        misread
    }

    fn guilty_member<T: RequestBody>(&mut self, misread: &Misread) -> Option<String> {
        let whole = at(&self.left, &misread.at)?.as_object()?.clone();
        match said(&misread.message) {
            Said::NoVariant { name, .. } => {
                let (tag, _) = whole.iter().find(|(_, value)| value.as_str() == Some(name))?;
                return Some(tag.clone());
            }
            Said::Other(_) => {}
            _ => return None,
        }
        let fault = |search: &mut Self, members: &Map<String, Value>| {
            let place = at_mut(&mut search.left, &misread.at)?;
            *place = Value::Object(members.clone());
            let error = first_misread::<T>(&search.left).err();
            error.filter(|error| error.at == misread.at).map(|error| error.message)
        };
        let mut members = Map::new();
        let of_nothing = fault(self, &members);
        let tag = match of_nothing.as_deref().map(said) {
            Some(Said::Missing(tag)) => whole.get_key_value(tag),
            // It is the object itself that is wrong there.
            Some(_) => {
                *at_mut(&mut self.left, &misread.at)? = Value::Object(whole);
                return None;
            }
            None => None,
        };
        members.extend(tag.map(|(name, value)| (name.clone(), value.clone())));
        let guilty = whole.iter().find(|(name, value)| {
            members.insert((*name).clone(), (*value).clone());
            let message = fault(self, &members);
            message.is_some_and(|message| matches!(said(&message), Said::Other(_) | Said::NoVariant { .. }))
        });
        let guilty = guilty.map(|(name, _)| name.clone());
        *at_mut(&mut self.left, &misread.at)? = Value::Object(whole);
        guilty
    }

    fn reported(self) -> Vec<FieldProblem> {
        let faults = self.faults.into_iter().flat_map(|(path, words)| {
            let field = text(&path);
            words.into_iter().map(move |Words { problem, fix }| FieldProblem {
                field: field.clone(),
                problem,
                fix,
            })
        });
        let mut reported: Vec<FieldProblem> = faults.take(FAULTS_MAX + 1).collect();
        if reported.len() > FAULTS_MAX {
            reported.truncate(FAULTS_MAX);
            reported.push(FieldProblem {
                field: "body".to_owned(),
                problem: format!("has more than these {FAULTS_MAX} problems"),
                fix: "correct these, and send it again for the rest".to_owned(),
            });
        }
        reported
    }
}
