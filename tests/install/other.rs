//! Another Rust static library, for a program that links libbert too: it allocates, starts threads, keeps data of a
//! thread, and catches panics, each with its own copy of Rust's standard library.
//!
//! With `--cfg hidden` its function has a name as libbert's have, so that the script which hides libbert's other names
//! can be run on it: a panic of libbert's own would be a defect and can't be asked for.

use std::cell::RefCell;
use std::collections::HashMap;

thread_local! {
    static KEPT: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

fn works() -> bool {
    std::panic::set_hook(Box::new(|_| {}));
    let threads: Vec<_> = (0..4)
        .map(|number| {
            std::thread::spawn(move || {
                KEPT.with_borrow_mut(|kept| kept.push(format!("thread {number}")));
                if number == 3 {
                    panic!("on a thread");
                }
                KEPT.with_borrow(|kept| kept.concat())
            })
        })
        .collect();
    let answers: HashMap<usize, Option<String>> = threads
        .into_iter()
        .map(|thread| thread.join().ok())
        .enumerate()
        .collect();
    let caught = std::panic::catch_unwind(|| {
        // Dropped while the panic unwinds.
        let _values = vec![String::from("a value"); 100];
        panic!("{}", "here");
    });
    let text = caught
        .err()
        .and_then(|panic| panic.downcast::<String>().ok());
    let all_answered = (0..3).all(|number| {
        answers[&number].as_deref() == Some(format!("thread {number}").as_str())
    });
    all_answered && answers[&3].is_none() && text.is_some_and(|text| *text == "here")
}

#[cfg(not(hidden))]
#[unsafe(no_mangle)]
pub extern "C" fn other_works() -> i32 {
    i32::from(works())
}

#[cfg(hidden)]
#[unsafe(no_mangle)]
pub extern "C" fn bert_hidden_works() -> i32 {
    i32::from(works())
}
