// SPDX-License-Identifier: AGPL-3.0-only
//! Doubly linked lists through the elements of a slice, by index.
//!
//! An element may be in several lists at once; it has a separate pair of links for each list. All
//! operations are O(1) and touch only the element and its neighbors.

/// No element.
const END: u32 = u32::MAX;
/// Stored in `prev` of an element that is in no list.
const LOOSE: u32 = u32::MAX - 1;
/// The maximum length: indices stay below this.
pub const MAX_LEN: usize = LOOSE as usize;

/// The links of an element in one list.
#[derive(Clone, Copy, Debug)]
pub struct Links {
    prev: u32,
    next: u32,
}

impl Links {
    /// In no list.
    pub const LOOSE: Self = Self {
        prev: LOOSE,
        next: END,
    };

    pub fn is_linked(&self) -> bool {
        self.prev != LOOSE
    }
}

/// An element with links for the list numbered `L`.
pub trait Linked<const L: usize> {
    fn links(&mut self) -> &mut Links;
}

/// The ends of the list numbered `L`.
#[derive(Debug)]
pub struct List<const L: usize> {
    head: u32,
    tail: u32,
}

impl<const L: usize> List<L> {
    pub const fn new() -> Self {
        Self {
            head: END,
            tail: END,
        }
    }

    pub fn front(&self) -> Option<u32> {
        (self.head != END).then_some(self.head)
    }

    /// Appends an element that is not in the list.
    pub fn push_back<T: Linked<L>>(&mut self, nodes: &mut [T], i: u32) {
        *links(nodes, i) = Links {
            prev: self.tail,
            next: END,
        };
        match self.tail {
            END => self.head = i,
            tail => links(nodes, tail).next = i,
        }
        self.tail = i;
    }

    /// Removes an element; does nothing if it is not in the list.
    pub fn unlink<T: Linked<L>>(&mut self, nodes: &mut [T], i: u32) {
        let Links { prev, next } = std::mem::replace(links(nodes, i), Links::LOOSE);
        if prev != LOOSE {
            self.point(nodes, prev, next, next, prev);
        }
    }

    pub fn move_to_back<T: Linked<L>>(&mut self, nodes: &mut [T], i: u32) {
        if self.tail != i {
            self.unlink(nodes, i);
            self.push_back(nodes, i);
        }
    }

    /// Updates the list after an element was moved to index `i` together with its links.
    pub fn relocated<T: Linked<L>>(&mut self, nodes: &mut [T], i: u32) {
        let Links { prev, next } = *links(nodes, i);
        if prev != LOOSE {
            self.point(nodes, prev, i, next, i);
        }
    }

    /// Sets the forward link of `prev` (or the head) to `ahead`, and the backward link of `next`
    /// (or the tail) to `behind`.
    fn point<T: Linked<L>>(
        &mut self,
        nodes: &mut [T],
        prev: u32,
        ahead: u32,
        next: u32,
        behind: u32,
    ) {
        match prev {
            END => self.head = ahead,
            prev => links(nodes, prev).next = ahead,
        }
        match next {
            END => self.tail = behind,
            next => links(nodes, next).prev = behind,
        }
    }
}

fn links<const L: usize, T: Linked<L>>(nodes: &mut [T], i: u32) -> &mut Links {
    nodes[i as usize].links()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Node(Links);

    impl Linked<0> for Node {
        fn links(&mut self) -> &mut Links {
            &mut self.0
        }
    }

    fn nodes(n: usize) -> Vec<Node> {
        (0..n).map(|_| Node(Links::LOOSE)).collect()
    }

    /// Reads the list in both directions and returns it from front to back.
    fn read(list: &List<0>, nodes: &mut [Node]) -> Vec<u32> {
        let walk = |nodes: &mut [Node], from: u32, forward: bool| {
            let (mut seen, mut i) = (Vec::new(), from);
            while i != END {
                seen.push(i);
                let links = *links::<0, _>(nodes, i);
                i = if forward { links.next } else { links.prev };
            }
            seen
        };
        let forward = walk(nodes, list.head, true);
        let mut backward = walk(nodes, list.tail, false);
        backward.reverse();
        assert_eq!(forward, backward);
        forward
    }

    #[test]
    fn order_is_that_of_arrival_and_moves() {
        let (mut list, mut nodes) = (List::<0>::new(), nodes(4));
        for i in 0..4 {
            list.push_back(&mut nodes, i);
        }
        list.move_to_back(&mut nodes, 0);
        assert_eq!(read(&list, &mut nodes), [1, 2, 3, 0]);
        list.move_to_back(&mut nodes, 0);
        list.unlink(&mut nodes, 2);
        list.unlink(&mut nodes, 2);
        assert_eq!(read(&list, &mut nodes), [1, 3, 0]);
        assert!(!nodes[2].0.is_linked());
        for i in [1, 0, 3] {
            list.unlink(&mut nodes, i);
        }
        assert_eq!(list.front(), None);
        assert!(read(&list, &mut nodes).is_empty());
    }

    #[test]
    fn a_relocated_element_keeps_its_place() {
        for hole in 0..3 {
            let (mut list, mut nodes) = (List::<0>::new(), nodes(4));
            for i in [3, 0, 1, 2] {
                list.push_back(&mut nodes, i);
            }
            list.unlink(&mut nodes, hole);
            nodes.swap_remove(hole as usize);
            list.relocated(&mut nodes, hole);
            let expected: Vec<u32> = [3, 0, 1, 2]
                .into_iter()
                .filter(|&i| i != hole)
                .map(|i| if i == 3 { hole } else { i })
                .collect();
            assert_eq!(read(&list, &mut nodes), expected);
        }
    }
}
