use crate::error::BuildErrorKind;

/// Which check depends on which, by index; it has no cycle.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Graph {
    /// What each check depends on, itself and through others; a check's ancestors come before it in `order`.
    ancestors: Vec<Box<[usize]>>,
    /// All checks, each after all that it depends on.
    order: Vec<usize>,
}

/// Why there is no graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) kind: BuildErrorKind,
    pub(crate) check: usize,
    /// The checks of a cycle, from `check` on.
    pub(crate) cycle: Vec<usize>,
}

impl Graph {
    /// Makes the graph of checks that depend on these, each on those of the list at its index.
    ///
    /// # Errors
    ///
    /// A check depends on itself, or on another that depends on it.
    pub(crate) fn new(parents: &[Vec<usize>]) -> Result<Self, Fault> {
        for (check, list) in parents.iter().enumerate() {
            if list.contains(&check) {
                return Err(Fault {
                    kind: BuildErrorKind::DependsOnItself,
                    check,
                    cycle: vec![check],
                });
            }
        }
        let order = sort(parents);
        if order.len() < parents.len() {
            return Err(fault(parents, &order));
        }
        let mut ancestors = vec![Vec::new(); parents.len()];
        for &check in &order {
            let mut all: Vec<usize> = parents[check].clone();
            for &parent in &parents[check] {
                all.extend_from_slice(&ancestors[parent]);
            }
            all.sort_unstable();
            all.dedup();
            ancestors[check] = all;
        }
        Ok(Self {
            ancestors: ancestors.into_iter().map(Vec::into_boxed_slice).collect(),
            order,
        })
    }

    /// Returns all checks, each after its ancestors.
    pub(crate) fn order(&self) -> &[usize] {
        &self.order
    }

    /// Returns what a check depends on, itself or through others.
    pub(crate) fn ancestors(&self, check: usize) -> &[usize] {
        &self.ancestors[check]
    }

    /// Returns the failing ancestors of a check that fail by themselves: those without a failing ancestor of their own.
    pub(crate) fn roots(&self, check: usize, fails: impl Fn(usize) -> bool) -> Vec<usize> {
        let ancestors = self.ancestors(check).iter().copied();
        let is_root = |&ancestor: &usize| !self.ancestors(ancestor).iter().any(|&above| fails(above));
        ancestors
            .filter(|&ancestor| fails(ancestor))
            .filter(is_root)
            .collect()
    }
}

/// Sorts so that each check comes after what it depends on (Kahn, 1962); the checks of a cycle and what depends on them
/// are left out.
fn sort(parents: &[Vec<usize>]) -> Vec<usize> {
    let mut waits: Vec<usize> = parents.iter().map(Vec::len).collect();
    let mut children = vec![Vec::new(); parents.len()];
    for (check, list) in parents.iter().enumerate() {
        for &parent in list {
            children[parent].push(check);
        }
    }
    let mut order: Vec<usize> = (0..parents.len()).filter(|&check| waits[check] == 0).collect();
    let mut done = 0;
    while let Some(&check) = order.get(done) {
        done += 1;
        for &child in &children[check] {
            waits[child] -= 1;
            if waits[child] == 0 {
                order.push(child);
            }
        }
    }
    order
}

/// Names a cycle among the checks that could not be sorted.
fn fault(parents: &[Vec<usize>], sorted: &[usize]) -> Fault {
    let is_left = |check: &usize| !sorted.contains(check);
    let mut path: Vec<usize> = (0..parents.len()).find(is_left).into_iter().collect();
    let mut at = path[0];
    loop {
        // Whoever is left waits for another that is left: the way leads back to where it was.
        let next = parents[at].iter().copied().find(is_left);
        at = next.expect("invariant: a check that cannot be sorted waits for another such check");
        if let Some(start) = path.iter().position(|&check| check == at) {
            let mut cycle = path.split_off(start);
            let first = (0..cycle.len()).min_by_key(|&index| cycle[index]).unwrap_or(0);
            cycle.rotate_left(first); // the check that was added first names it
            return Fault {
                kind: BuildErrorKind::DependencyCycle,
                check: cycle[0],
                cycle,
            };
        }
        path.push(at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ancestors_are_found_through_others() {
        let graph = Graph::new(&[vec![2], vec![], vec![1], vec![0, 1]]).unwrap();
        assert_eq!(graph.order(), [1, 2, 0, 3]);
        assert_eq!(graph.ancestors(3), [0, 1, 2]);
        assert_eq!(graph.roots(3, |check| check == 0 || check == 2), [2]);
        assert_eq!(graph.roots(3, |_| true), [1]);
        assert!(graph.roots(1, |_| true).is_empty());
    }

    #[test]
    fn a_cycle_is_named_without_what_hangs_on_it() {
        let fault = Graph::new(&[vec![3], vec![2], vec![3], vec![1]]).unwrap_err();
        assert_eq!(
            (fault.kind, fault.cycle),
            (BuildErrorKind::DependencyCycle, vec![1, 2, 3])
        );
        let fault = Graph::new(&[vec![], vec![0, 1]]).unwrap_err();
        assert_eq!((fault.kind, fault.check), (BuildErrorKind::DependsOnItself, 1));
    }

    fn parents() -> impl Strategy<Value = Vec<Vec<usize>>> {
        (1usize..9).prop_flat_map(|count| {
            let list = prop::collection::btree_set(0..count, 0..3);
            prop::collection::vec(list.prop_map(|set| set.into_iter().collect()), count)
        })
    }

    proptest! {
        #[test]
        fn either_an_order_or_a_cycle(parents in parents()) {
            match Graph::new(&parents) {
                Ok(graph) => {
                    prop_assert_eq!(graph.order().len(), parents.len());
                    let place = |check: usize| graph.order().iter().position(|&at| at == check);
                    for (check, list) in parents.iter().enumerate() {
                        for &parent in list {
                            prop_assert!(place(parent) < place(check));
                            prop_assert!(graph.ancestors(check).contains(&parent));
                        }
                        for &ancestor in graph.ancestors(check) {
                            prop_assert!(
                                list.iter().any(|&parent| parent == ancestor || graph.ancestors(parent).contains(&ancestor))
                            );
                        }
                    }
                }
                Err(fault) => {
                    prop_assert_eq!(fault.check, fault.cycle[0]);
                    for (at, check) in fault.cycle.iter().enumerate() {
                        let next = fault.cycle[(at + 1) % fault.cycle.len()];
                        prop_assert!(parents[*check].contains(&next), "{:?}", fault.cycle);
                    }
                }
            }
        }

        #[test]
        fn roots_explain_every_failure(parents in parents(), failing: u16) {
            let fails = |check: usize| failing >> check & 1 == 1;
            if let Ok(graph) = Graph::new(&parents) {
                for check in 0..parents.len() {
                    let roots = graph.roots(check, fails);
                    for &root in &roots {
                        prop_assert!(fails(root) && graph.roots(root, fails).is_empty());
                    }
                    for &ancestor in graph.ancestors(check) {
                        let explained = roots.contains(&ancestor)
                            || roots.iter().any(|root| graph.ancestors(ancestor).contains(root));
                        prop_assert!(!fails(ancestor) || explained);
                    }
                }
            }
        }
    }
}
