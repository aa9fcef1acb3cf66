//! The search: every state that a scenario can reach, breadth first where a trace is wanted.

use std::time::Instant;

use model::{Action, Scenario, World, announce, properties};
use stateright::{Checker, HasDiscoveries, Model, Property};

/// A scenario as the checker sees it.
pub(crate) struct Checked(Scenario);

impl Model for Checked {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![self.0.begin()]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        self.0.actions(world, actions);
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        self.0.step(world, action)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        /// The checker takes pointers to functions, so each property of the list needs one of its own.
        macro_rules! nth {
            ($($n:literal)*) => {
                vec![$(Property::always(properties::ALL[$n].0, |model: &Self, world| properties::ALL[$n].1(&model.0, world))),*]
            };
        }
        let mut all = nth!(0 1 2 3 4 5 6 7 8);
        assert_eq!(all.len(), properties::ALL.len());
        // A scenario in which nothing can happen would hold everywhere.
        all.push(Property::sometimes("every push ends", |model: &Self, world: &World| {
            (0..).take(model.0.clients.len()).all(|client| model.0.job(world, client).is_none())
        }));
        all.push(Property::sometimes("a manifest is there", |_: &Self, world: &World| {
            world.rows.manifests.iter().flatten().any(Option::is_some)
        }));
        all.push(Property::sometimes("bytes wait in the trash", |_: &Self, world: &World| {
            world.rows.trash.iter().any(Option::is_some)
        }));
        all
    }
}

/// Searches to the end and asserts that everything holds.
pub(crate) fn holds(scenario: Scenario) {
    let began = Instant::now();
    let checker = Checked(scenario).checker().threads(2).spawn_dfs().join();
    let states = checker.unique_state_count();
    for (name, path) in checker.discoveries() {
        if checker.discovery_classification(name).to_string() == "counterexample" {
            panic!("{}: {name} is broken by {:#?}", scenario.name, path.into_actions());
        }
    }
    checker.assert_properties();
    let seconds = began.elapsed().as_secs_f32();
    announce(&format!("model: {}: {states} states, 0 violations, {seconds:.1} s", scenario.name));
}

/// Searches until any of `expected` breaks, and prints the steps that it takes, none of which could be left out.
pub(crate) fn breaks(scenario: Scenario, expected: &[&'static str]) {
    let wanted = HasDiscoveries::AnyOf(expected.iter().copied().collect());
    let checker = Checked(scenario).checker().finish_when(wanted).spawn_bfs().join();
    let mut found = checker.discoveries();
    let (name, path) = expected
        .iter()
        .find_map(|name| Some((*name, found.remove(name)?)))
        .unwrap_or_else(|| panic!("{:?} breaks none of {expected:?}", scenario.rules.variant));
    let trace = shortened(&scenario, name, path.into_actions());
    let states = checker.unique_state_count();
    let variant = scenario.rules.variant;
    announce(&format!("model: {variant:?} breaks {name:?} ({states} states seen): {trace:?}"));
}

/// Leaves out what the break does not need. (The checker looks at a block of states before it stops, so its own trace may go on behind the break.)
fn shortened(scenario: &Scenario, name: &str, mut trace: Vec<Action>) -> Vec<Action> {
    let mut at = trace.len();
    while at > 0 {
        at -= 1;
        let left = trace.remove(at);
        if !is_broken_by(scenario, name, &trace) {
            trace.insert(at, left);
        }
    }
    trace
}

fn is_broken_by(scenario: &Scenario, name: &str, trace: &[Action]) -> bool {
    let (mut world, mut possible) = (scenario.begin(), Vec::new());
    for action in trace {
        possible.clear();
        scenario.actions(&world, &mut possible);
        match scenario.step(&world, *action).filter(|_| possible.contains(action)) {
            Some(next) => world = next,
            None => return false,
        }
    }
    properties::ALL.iter().any(|(other, holds)| *other == name && !holds(scenario, &world))
}
