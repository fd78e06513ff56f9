//! One body of arithmetic, compiled for what the processor has.
//!
//! What a [`Task`] does is written over arrays, which the compiler turns into vectors of whatever width the processor has.
//! Only the sums of a product, which must stay in registers, are vectors by name. Every element is computed by the same
//! operations in the same order at every width, so the width does not show in the results: only whether a product and a
//! sum are rounded once or twice does.

/// Numbers worked on side by side.
pub(crate) const LANES: usize = 16;

/// How a product is added to a sum, and what code is compiled for.
pub(crate) trait Arithmetic: Copy + Send + Sync {
    /// So many numbers in registers.
    type Lanes: Copy;

    /// Whether there are as many registers as 24 sums, what they are made of, and more.
    const MANY_REGISTERS: bool;

    /// `a·b + c`.
    fn mul_add(a: f32, b: f32, c: f32) -> f32;

    /// Into registers.
    fn load(self, from: &[f32; LANES]) -> Self::Lanes;

    /// Out of registers.
    fn store(self, from: Self::Lanes, to: &mut [f32; LANES]);

    /// `left·right + sums`, lane by lane.
    fn add_products(self, left: f32, right: Self::Lanes, sums: Self::Lanes) -> Self::Lanes;

    /// Does some work in a function of its own, compiled for the same processor: a loop has all registers to itself there.
    /// The work must be inlined into it.
    fn apart<R>(self, work: impl FnOnce() -> R) -> R;
}

/// AVX2: two vectors, and products that are rounded once, with the sum.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
struct Avx2(pulp::x86::V3);

#[cfg(target_arch = "x86_64")]
impl Arithmetic for Avx2 {
    type Lanes = [pulp::f32x8; 2];

    const MANY_REGISTERS: bool = false;

    #[inline(always)]
    fn mul_add(a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }

    #[inline(always)]
    fn load(self, from: &[f32; LANES]) -> [pulp::f32x8; 2] {
        pulp::cast(*from)
    }

    #[inline(always)]
    fn store(self, from: [pulp::f32x8; 2], to: &mut [f32; LANES]) {
        *to = pulp::cast(from);
    }

    #[inline(always)]
    fn add_products(self, left: f32, right: [pulp::f32x8; 2], sums: [pulp::f32x8; 2]) -> [pulp::f32x8; 2] {
        let left = self.0.splat_f32x8(left);
        [self.0.mul_add_f32x8(left, right[0], sums[0]), self.0.mul_add_f32x8(left, right[1], sums[1])]
    }

    #[inline(always)]
    fn apart<R>(self, work: impl FnOnce() -> R) -> R {
        self.0.vectorize(work)
    }
}

/// AVX-512: one vector, and twice as many registers.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
struct Avx512(pulp::x86::V4);

#[cfg(target_arch = "x86_64")]
impl Arithmetic for Avx512 {
    type Lanes = pulp::f32x16;

    const MANY_REGISTERS: bool = true;

    #[inline(always)]
    fn mul_add(a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }

    #[inline(always)]
    fn load(self, from: &[f32; LANES]) -> pulp::f32x16 {
        pulp::cast(*from)
    }

    #[inline(always)]
    fn store(self, from: pulp::f32x16, to: &mut [f32; LANES]) {
        *to = pulp::cast(from);
    }

    #[inline(always)]
    fn add_products(self, left: f32, right: pulp::f32x16, sums: pulp::f32x16) -> pulp::f32x16 {
        self.0.mul_add_f32x16(self.0.splat_f32x16(left), right, sums)
    }

    #[inline(always)]
    fn apart<R>(self, work: impl FnOnce() -> R) -> R {
        self.0.vectorize(work)
    }
}

/// No instructions in particular. Where a processor has none for both, a product is rounded before it is added: rounding
/// once would take a hundred times as long.
#[derive(Clone, Copy)]
struct Portable;

impl Arithmetic for Portable {
    type Lanes = [f32; LANES];

    const MANY_REGISTERS: bool = false;

    #[inline(always)]
    fn mul_add(a: f32, b: f32, c: f32) -> f32 {
        // Every ARM processor of 64 bits has one.
        if cfg!(target_arch = "aarch64") { a.mul_add(b, c) } else { a * b + c }
    }

    #[inline(always)]
    fn load(self, from: &[f32; LANES]) -> [f32; LANES] {
        *from
    }

    #[inline(always)]
    fn store(self, from: [f32; LANES], to: &mut [f32; LANES]) {
        *to = from;
    }

    #[inline(always)]
    fn add_products(self, left: f32, right: [f32; LANES], mut sums: [f32; LANES]) -> [f32; LANES] {
        for (sum, right) in sums.iter_mut().zip(right) {
            *sum = Portable::mul_add(left, right, *sum);
        }
        sums
    }

    #[inline(never)]
    fn apart<R>(self, work: impl FnOnce() -> R) -> R {
        work()
    }
}

/// Work to compile for several processors. All that it calls must be inlined into [`run`](Task::run), or it is compiled
/// for the least of them.
pub(crate) trait Task {
    /// What it gives.
    type Output;
    /// The work.
    fn run<A: Arithmetic>(self, arithmetic: A) -> Self::Output;
}

/// Does the work with the widest vectors that this processor is known to have.
pub(crate) fn dispatch<T: Task>(task: T) -> T::Output {
    #[cfg(target_arch = "x86_64")]
    if let Some(simd) = pulp::x86::V4::try_new() {
        return simd.vectorize(
            #[inline(always)]
            || task.run(Avx512(simd)),
        );
    }
    #[cfg(target_arch = "x86_64")]
    if let Some(simd) = pulp::x86::V3::try_new() {
        return simd.vectorize(
            #[inline(always)]
            || task.run(Avx2(simd)),
        );
    }
    task.run(Portable)
}
