//! The digest of every variable of a checkpoint, by several threads where that pays.

use std::cmp::Reverse;
use std::num::NonZero;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use tf_checkpoint::{Error, Variable};

use crate::progress::Progress;
use crate::store::Store;

/// Below this many bytes in all, starting threads takes longer than they save.
const SMALL: usize = 4 << 20;
const MAX_THREADS: usize = 8;

/// SHA-256 of every variable, in the order of [`Store::variables`]; the first error in that order.
pub(crate) fn sha256(store: &Store, quiet: bool) -> Result<Vec<String>, Error> {
    let variables = store.variables();
    let sizes: Vec<usize> = variables.iter().map(size).collect();
    let total = sizes.iter().fold(0usize, |sum, &n| sum.saturating_add(n));
    let threads = match total {
        0..SMALL => 1,
        _ => thread::available_parallelism().map_or(1, NonZero::get).min(MAX_THREADS),
    };
    let progress = Progress::bytes("hashing", total as u64, quiet);
    for_each(variables, &sizes, threads, |variable| {
        let digest = store.sha256(&variable.name)?;
        progress.add(size(variable) as u64);
        Ok(digest)
    })
}

/// Bytes of a variable, as far as its shape tells: strings are of any length.
fn size(variable: &Variable) -> usize {
    let element = variable.dtype.size().unwrap_or(16);
    variable.shape.iter().fold(element, |n, &extent| n.saturating_mul(extent))
}

/// `work` on every item, by `threads` threads, the large items first. The results are in the items' order, as is the
/// error where there are several.
fn for_each<I: Sync, T: Send, E: Send>(
    items: &[I],
    sizes: &[usize],
    threads: usize,
    work: impl Fn(&I) -> Result<T, E> + Sync,
) -> Result<Vec<T>, E> {
    let mut order: Vec<(usize, &I)> = items.iter().enumerate().collect();
    order.sort_by_key(|&(index, _)| Reverse(sizes[index]));
    let next = AtomicUsize::new(0);
    // The first item that failed so far: those after it no longer matter.
    let failed = AtomicUsize::new(usize::MAX);
    let take_turns = || {
        let mut done = vec![];
        while let Some(&(index, item)) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
            if index < failed.load(Ordering::Relaxed) {
                let result = work(item);
                if result.is_err() {
                    failed.fetch_min(index, Ordering::Relaxed);
                }
                done.push((index, result));
            }
        }
        done
    };
    let mut done = thread::scope(|scope| {
        // This thread takes part, so a system that has no thread to give only makes it slower.
        let others: Vec<_> =
            (1..threads).map_while(|_| thread::Builder::new().spawn_scoped(scope, take_turns).ok()).collect();
        let mut done = take_turns();
        for other in others {
            done.extend(other.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
        done
    });
    done.sort_by_key(|&(index, _)| index);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_in_the_order_of_the_items() {
        let items: Vec<usize> = (0..500).collect();
        let sizes: Vec<usize> = items.iter().map(|i| i * 7919 % 500).collect();
        let doubled: Vec<usize> = items.iter().map(|i| i * 2).collect();
        for threads in [0, 1, 2, 8] {
            assert_eq!(for_each(&items, &sizes, threads, |&i| Ok::<_, ()>(i * 2)), Ok(doubled.clone()));
            assert_eq!(for_each(&[], &[], threads, |&i: &usize| Ok::<_, ()>(i)), Ok(vec![]));
        }
    }

    #[test]
    fn the_first_error_in_the_order_of_the_items_counts() {
        let items: Vec<usize> = (0..500).collect();
        for sizes in [items.clone(), items.iter().rev().copied().collect(), vec![1; 500]] {
            for threads in [1, 2, 8] {
                let result = for_each(&items, &sizes, threads, |&i| if i % 100 == 42 { Err(i) } else { Ok(i) });
                assert_eq!(result, Err(42));
            }
        }
    }

    #[test]
    fn large_items_come_first_and_each_once() {
        let seen = std::sync::Mutex::new(vec![]);
        let sizes = [3, usize::MAX, 0, 3, 9];
        let work = |&i: &usize| {
            seen.lock().unwrap().push(i);
            Ok::<_, ()>(i)
        };
        assert_eq!(for_each(&[0, 1, 2, 3, 4], &sizes, 1, work), Ok(vec![0, 1, 2, 3, 4]));
        assert_eq!(seen.into_inner().unwrap(), [1, 4, 0, 3, 2]);
    }
}
