//! Defines what Paho is linked with in place of its `LinkedList.c`: the same lists, with an index for searches in long ones.
//!
//! Paho finds the client of a packet by going through the list of all clients, three times a packet. Every
//! name that the rest of Paho C 1.3.16 uses of `LinkedList.c` is here, so that its own is not linked.
#![allow(unsafe_code)]

use std::{
    ffi::{c_int, c_void},
    ptr,
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
};

use rustc_hash::FxHashMap;

/// `ListElement` of Paho's `LinkedList.h`, and what it does not see.
#[repr(C)]
pub(super) struct Element {
    prev: *mut Element,
    next: *mut Element,
    pub content: *mut c_void,
    /// The search that the index knows it by; all zero for none.
    key: Key,
}

/// `List` of Paho's `LinkedList.h`.
#[repr(C)]
pub(super) struct List {
    first: *mut Element,
    last: *mut Element,
    current: *mut Element,
    count: c_int,
    size: usize,
}

/// Whether an element's content is the one that is looked for.
pub(super) type Compare = unsafe extern "C" fn(*mut c_void, *mut c_void) -> c_int;

/// Below this many elements going through them is quicker.
const LONG: c_int = 16;

/// A search: in which list, by what, and how what is looked for begins. What is found by it is asked again
/// whether it is that, so that a key need not tell all.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    list: usize,
    compare: usize,
    wanted: u32,
}

const NO_KEY: Key = Key { list: 0, compare: 0, wanted: 0 };

/// Where earlier searches ended, an element by the last of them.
static INDEX: LazyLock<Mutex<FxHashMap<Key, usize>>> = LazyLock::new(Mutex::default);

fn index() -> MutexGuard<'static, FxHashMap<Key, usize>> {
    INDEX.lock().unwrap_or_else(PoisonError::into_inner)
}

unsafe extern "C" {
    /// What waits to be sent, of all clients. Paho searches it for one thing, whether any of them uses a packet
    /// identifier (`MQTTAsync_assignMsgId`), and finds none here: identifiers are each client's own, they rise, and
    /// of a client there are never nearly as many commands as identifiers (`max_buffered_messages`).
    static mut MQTTAsync_commands: *mut List;
}

// Every function below is called by Paho under `mqttasync_mutex` or, of commands, `mqttcommand_mutex` beside
// it, with pointers to lists and elements that came from here and are alive.

/// # Safety
/// As above.
#[unsafe(no_mangle)]
unsafe extern "C" fn ListZero(list: *mut List) {
    let empty = List { first: ptr::null_mut(), last: ptr::null_mut(), current: ptr::null_mut(), count: 0, size: 0 };
    // SAFETY: as above.
    unsafe { list.write(empty) }
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn ListInitialize() -> *mut List {
    // SAFETY: Paho frees it with `ListFree`; what it is given is either null or a list.
    unsafe {
        let list = libc::malloc(size_of::<List>()).cast::<List>();
        if !list.is_null() {
            ListZero(list);
        }
        list
    }
}

/// # Safety
/// As above.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn ListAppend(list: *mut List, content: *mut c_void, size: usize) -> *mut Element {
    // SAFETY: as above.
    unsafe { ListInsert(list, content, size, ptr::null_mut()) }
}

/// Puts it before an element of the list, or at the end.
///
/// # Safety
/// As above.
#[unsafe(no_mangle)]
unsafe extern "C" fn ListInsert(
    list: *mut List,
    content: *mut c_void,
    size: usize,
    before: *mut Element,
) -> *mut Element {
    // SAFETY: as above; the element is freed by `free_element`.
    unsafe {
        let element = libc::malloc(size_of::<Element>()).cast::<Element>();
        if element.is_null() {
            return element;
        }
        let prev = if before.is_null() { (*list).last } else { (*before).prev };
        element.write(Element { prev, next: before, content, key: NO_KEY });
        *(if prev.is_null() { &mut (*list).first } else { &mut (*prev).next }) = element;
        *(if before.is_null() { &mut (*list).last } else { &mut (*before).prev }) = element;
        (*list).count += 1;
        (*list).size += size;
        element
    }
}

/// # Safety
/// As above; a `compare` takes such contents as the list has, and what is looked for.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn ListFindItem(
    list: *mut List,
    wanted: *mut c_void,
    compare: Option<Compare>,
) -> *mut Element {
    // SAFETY: as above. What is looked for by `compare` has the four bytes of a number at least.
    unsafe {
        if ptr::eq(list, ptr::addr_of!(MQTTAsync_commands).read()) {
            return ptr::null_mut();
        }
        let key = match compare {
            Some(compare) if (*list).count >= LONG => {
                let wanted = wanted.cast::<u32>().read_unaligned();
                Some(Key { list: list as usize, compare: compare as usize, wanted })
            }
            _ => None,
        };
        find(list, wanted, compare, key)
    }
}

/// # Safety
/// As [`ListFindItem`].
#[unsafe(no_mangle)]
unsafe extern "C" fn ListFind(list: *mut List, content: *mut c_void) -> *mut Element {
    // SAFETY: as there.
    unsafe { find(list, content, None, None) }
}

/// # Safety
/// As [`ListFindItem`].
unsafe fn find(list: *mut List, wanted: *mut c_void, compare: Option<Compare>, key: Option<Key>) -> *mut Element {
    // SAFETY: as there; an element that the index has is alive, since freeing one takes it out.
    unsafe {
        let is_it = |element: *mut Element| match compare {
            Some(compare) => compare((*element).content, wanted) != 0,
            None => (*element).content == wanted,
        };
        let current = (*list).current;
        if !current.is_null() && is_it(current) {
            if let Some(key) = key {
                remember(key, current);
            }
            return current;
        }
        if let Some(key) = key {
            let known = index().get(&key).map_or(ptr::null_mut(), |&element| element as *mut Element);
            if !known.is_null() && is_it(known) {
                (*list).current = known;
                return known;
            }
        }
        // A search that the index does not know is for a client that has just connected, the newest. What is
        // looked for by itself is mostly a command that is done with, the oldest.
        let mut element = if compare.is_some() { (*list).last } else { (*list).first };
        while !element.is_null() && !is_it(element) {
            element = if compare.is_some() { (*element).prev } else { (*element).next };
        }
        if !element.is_null() {
            (*list).current = element;
            if let Some(key) = key {
                remember(key, element);
            }
        }
        element
    }
}

/// # Safety
/// The element is alive.
unsafe fn remember(key: Key, element: *mut Element) {
    // SAFETY: as above.
    unsafe {
        if (*element).key == key {
            return;
        }
        let mut index = index();
        // What was found by this key before is not that any more.
        if let Some(other) = index.insert(key, element as usize) {
            (*(other as *mut Element)).key = NO_KEY;
        }
        let before = std::mem::replace(&mut (*element).key, key);
        if before != NO_KEY {
            index.remove(&before);
        }
    }
}

/// # Safety
/// The element is in no list any more.
unsafe fn free_element(element: *mut Element) {
    // SAFETY: it came from `ListInsert`, and nobody has it now.
    unsafe {
        if (*element).key != NO_KEY {
            index().remove(&(*element).key);
        }
        libc::free(element.cast());
    }
}

/// Takes an element out; true where there was one.
///
/// # Safety
/// As [`ListFindItem`].
unsafe fn unlink(list: *mut List, wanted: *mut c_void, compare: Option<Compare>, with_content: bool) -> bool {
    // SAFETY: as there; contents that go with their element came from `malloc`, as in Paho's own.
    unsafe {
        let current = (*list).current;
        let element = find(list, wanted, compare, None);
        if element.is_null() {
            return false;
        }
        let Element { prev, next, content, .. } = *element;
        *(if prev.is_null() { &mut (*list).first } else { &mut (*prev).next }) = next;
        *(if next.is_null() { &mut (*list).last } else { &mut (*next).prev }) = prev;
        (*list).current = if current == element { next } else { current };
        (*list).count -= 1;
        if with_content {
            libc::free(content);
        }
        free_element(element);
        true
    }
}

/// # Safety
/// As [`ListFindItem`].
#[unsafe(no_mangle)]
unsafe extern "C" fn ListDetach(list: *mut List, content: *mut c_void) -> c_int {
    // SAFETY: as there.
    unsafe { unlink(list, content, None, false) }.into()
}

/// # Safety
/// As [`ListFindItem`].
#[unsafe(no_mangle)]
unsafe extern "C" fn ListRemove(list: *mut List, content: *mut c_void) -> c_int {
    // SAFETY: as there.
    unsafe { unlink(list, content, None, true) }.into()
}

/// # Safety
/// As [`ListFindItem`].
#[unsafe(no_mangle)]
unsafe extern "C" fn ListRemoveItem(list: *mut List, wanted: *mut c_void, compare: Option<Compare>) -> c_int {
    // SAFETY: as there.
    unsafe { unlink(list, wanted, compare, true) }.into()
}

/// # Safety
/// As above.
#[unsafe(no_mangle)]
unsafe extern "C" fn ListDetachHead(list: *mut List) -> *mut c_void {
    // SAFETY: as above.
    unsafe {
        let first = (*list).first;
        if first.is_null() {
            return ptr::null_mut();
        }
        let Element { next, content, .. } = *first;
        (*list).first = next;
        *(if next.is_null() { &mut (*list).last } else { &mut (*next).prev }) = ptr::null_mut();
        if (*list).current == first {
            (*list).current = next;
        }
        (*list).count -= 1;
        free_element(first);
        content
    }
}

/// # Safety
/// As above.
#[unsafe(no_mangle)]
unsafe extern "C" fn ListEmpty(list: *mut List) {
    // SAFETY: as above, and as in `unlink` for contents.
    unsafe {
        loop {
            if (*list).first.is_null() {
                break ListZero(list);
            }
            libc::free(ListDetachHead(list));
        }
    }
}

/// # Safety
/// As above; the list is not used any more.
#[unsafe(no_mangle)]
unsafe extern "C" fn ListFree(list: *mut List) {
    // SAFETY: as above; it came from `ListInitialize`.
    unsafe {
        ListEmpty(list);
        libc::free(list.cast());
    }
}

/// # Safety
/// As [`ListFree`].
#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn ListFreeNoContent(list: *mut List) {
    // SAFETY: as there.
    unsafe {
        while !(*list).first.is_null() {
            ListDetachHead(list);
        }
        libc::free(list.cast());
    }
}

/// # Safety
/// As above; `position` is null or holds null or an element of the list.
#[unsafe(no_mangle)]
unsafe extern "C" fn ListNextElement(list: *mut List, position: *mut *mut Element) -> *mut Element {
    // SAFETY: as above.
    unsafe {
        *position = if (*position).is_null() { (*list).first } else { (**position).next };
        *position
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Contents are numbers; one is looked for by its address, as Paho does.
    unsafe extern "C" fn is_same(content: *mut c_void, wanted: *mut c_void) -> c_int {
        // SAFETY: both are numbers of this test.
        unsafe { (content.cast::<u32>().read() == wanted.cast::<u32>().read()).into() }
    }

    fn number(n: u32) -> *mut c_void {
        // SAFETY: it is freed with its element.
        unsafe {
            let place = libc::malloc(size_of::<u32>()).cast::<u32>();
            place.write(n);
            place.cast()
        }
    }

    fn contents(list: *mut List) -> Vec<u32> {
        let mut all = Vec::new();
        // SAFETY: the list is alive, its contents are numbers.
        unsafe {
            let mut element = ptr::null_mut();
            while !ListNextElement(list, &mut element).is_null() {
                all.push((*element).content.cast::<u32>().read());
            }
            assert_eq!((*list).count as usize, all.len());
        }
        all
    }

    #[test]
    fn lists_are_those_of_a_vector_whatever_is_done_to_them() {
        let mut random = fastrand::Rng::with_seed(7);
        let list = ListInitialize();
        let mut model: Vec<u32> = Vec::new();
        // SAFETY: the list is alive until it is freed at the end.
        unsafe {
            for step in 0..20_000 {
                let mut wanted = random.u32(0..200);
                let wanted_at = (&raw mut wanted).cast();
                let place = model.iter().position(|&n| n == wanted);
                match random.u8(0..6) {
                    0 | 1 if place.is_none() => {
                        ListAppend(list, number(wanted), 4);
                        model.push(wanted);
                    }
                    2 if place.is_none() && !model.is_empty() => {
                        let mut other = model[random.usize(0..model.len())];
                        let before = ListFindItem(list, (&raw mut other).cast(), Some(is_same));
                        ListInsert(list, number(wanted), 4, before);
                        let at = model.iter().position(|&n| n == other).unwrap();
                        model.insert(at, wanted);
                    }
                    3 => {
                        let removed = ListRemoveItem(list, wanted_at, Some(is_same)) != 0;
                        assert_eq!(removed, place.is_some(), "step {step}");
                        model.retain(|&n| n != wanted);
                    }
                    4 if step % 50 == 0 => {
                        let head = ListDetachHead(list);
                        let expected = (!model.is_empty()).then(|| model.remove(0));
                        assert_eq!((!head.is_null()).then(|| head.cast::<u32>().read()), expected);
                        libc::free(head);
                    }
                    _ => {
                        let found = ListFindItem(list, wanted_at, Some(is_same));
                        let found = (!found.is_null()).then(|| (*found).content.cast::<u32>().read());
                        assert_eq!(found, place.map(|at| model[at]), "step {step}");
                        if let Some(n) = found {
                            assert_eq!(n, wanted);
                        }
                    }
                }
                if step % 500 == 0 {
                    assert_eq!(contents(list), model);
                }
            }
            assert_eq!(contents(list), model);
            let known = index().keys().filter(|key| key.list == list as usize).count();
            assert!(known <= model.len() && !model.is_empty());
            ListEmpty(list);
            assert!(contents(list).is_empty());
            ListFree(list);
            assert!(index().keys().all(|key| key.list != list as usize));
        }
    }
}
