//! The choices of a schedule: enumerated, random or replayed.

/// The source of the choices of one run, and the choices that were made.
#[derive(Clone, Debug)]
pub(crate) struct Choices {
    /// The first choices.
    prefix: Vec<usize>,
    /// The source of the choices after the prefix. Without it, each is the first option.
    random: Option<Random>,
    /// Every choice, with the number of its options.
    made: Vec<(usize, usize)>,
    /// The inverse of the probability of the random choices.
    estimate: f64,
    /// The options are those of a reduced enumeration.
    pub(crate) reduces: bool,
}

/// The begin of the text of a reduced enumeration's choices.
const REDUCED: &str = "reduced";

/// Random choices take one of the rare options once in this number of times.
const RARITY: usize = 8;

impl Choices {
    /// Makes these choices, and then always the first option.
    pub(crate) fn replay(prefix: Vec<usize>) -> Self {
        Self {
            prefix,
            random: None,
            made: Vec::new(),
            estimate: 1.0,
            reduces: false,
        }
    }

    /// Begins a reduced enumeration, which leaves out orders of independent moves.
    pub(crate) fn reduced() -> Self {
        Self {
            reduces: true,
            ..Self::replay(Vec::new())
        }
    }

    /// Makes the choices of [`text`](Self::text).
    pub(crate) fn parse(text: &str) -> Self {
        let made = text.split('.').filter_map(|it| it.parse().ok());
        Self {
            reduces: text.starts_with(REDUCED),
            ..Self::replay(made.collect())
        }
    }

    pub(crate) fn random(random: Random) -> Self {
        Self {
            random: Some(random),
            ..Self::replay(Vec::new())
        }
    }

    /// Chooses one of `options` options. The first ones are common, the others are rare.
    pub(crate) fn choose(&mut self, options: usize, common: usize) -> usize {
        if options == 1 {
            return 0;
        }
        let chosen = match self.prefix.get(self.made.len()) {
            Some(chosen) => (*chosen).min(options - 1),
            None => self.choose_random(options, common),
        };
        self.made.push((chosen, options));
        chosen
    }

    fn choose_random(&mut self, options: usize, common: usize) -> usize {
        let Some(random) = &mut self.random else {
            return 0;
        };
        let rare = options - common;
        if rare == 0 || common == 0 {
            self.estimate *= options as f64;
            return random.below(options);
        }
        let (first, count, share) = match random.one_in(RARITY) {
            true => (common, rare, RARITY as f64),
            false => (0, common, RARITY as f64 / (RARITY - 1) as f64),
        };
        self.estimate *= share * count as f64;
        first + random.below(count)
    }

    /// Returns the choices of the next run of an enumeration.
    pub(crate) fn next(mut self) -> Option<Self> {
        while let Some((chosen, options)) = self.made.pop() {
            if chosen + 1 < options {
                let mut prefix: Vec<usize> = self.made.iter().map(|(chosen, _)| *chosen).collect();
                prefix.push(chosen + 1);
                return Some(Self {
                    reduces: self.reduces,
                    ..Self::replay(prefix)
                });
            }
        }
        None
    }

    /// Estimates the number of runs of a whole enumeration, after a random run.
    pub(crate) fn estimate(&self) -> f64 {
        self.estimate
    }

    /// Returns the choices as text, for a replay.
    pub(crate) fn text(&self) -> String {
        let kind = self.reduces.then(|| REDUCED.to_owned());
        let chosen = self.made.iter().map(|(chosen, _)| chosen.to_string());
        kind.into_iter().chain(chosen).collect::<Vec<_>>().join(".")
    }
}

/// A small generator of pseudo-random numbers (SplitMix64). One seed gives the same numbers in every
/// release.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below `limit`.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.number() % limit as u64) as usize
    }

    pub(crate) fn one_in(&mut self, limit: usize) -> bool {
        self.below(limit) == 0
    }

    pub(crate) fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }
}
