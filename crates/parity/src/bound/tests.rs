use super::*;
use crate::random::Stream;
use lstm::{LayerNorm, Norm, Peepholes, oracle};
use ndarray::{Array, Array1, Axis, Dimension, array, concatenate, s};

fn random_cell(input: usize, units: usize, scale: f32, seed: u64) -> Tf1Cell {
    let w = Stream::new(seed, 10);
    let b = Stream::new(seed, 11);
    let kernel =
        Array2::from_shape_fn((input + units, 4 * units), |(r, c)| scale * w.normal((r * 4 * units + c) as u64));
    Tf1Cell::new(kernel, Array1::from_shape_fn(4 * units, |c| scale * b.normal(c as u64))).unwrap()
}

/// The plainest f32 evaluation: ndarray's product, std's functions.
fn plain_f32(cell: &Tf1Cell, x: &Array2<f32>, h: &Array2<f32>, c: &Array2<f32>) -> (Array2<f32>, Array2<f32>) {
    let z = concatenate(Axis(1), &[x.view(), h.view()]).unwrap().dot(&cell.kernel) + &cell.bias;
    let u = cell.units();
    let sigmoid = |v: f32| 1.0 / (1.0 + (-v).exp());
    let new_c = Array2::from_shape_fn(c.dim(), |(r, k)| {
        c[[r, k]] * sigmoid(z[[r, 2 * u + k]] + cell.forget_bias) + sigmoid(z[[r, k]]) * z[[r, u + k]].tanh()
    });
    let new_h = Array2::from_shape_fn(c.dim(), |(r, k)| new_c[[r, k]].tanh() * sigmoid(z[[r, 3 * u + k]]));
    (new_h, new_c)
}

#[test]
fn plain_f32_stays_within_the_bound_and_a_small_fault_does_not() {
    for (input, units, scale) in
        [(1, 1, 1.0), (5, 8, 0.6), (20, 100, 0.15), (40, 33, 3.0), (128, 256, 0.05), (5, 8, 0.01)]
    {
        let cell = random_cell(input, units, scale, 3);
        let draw = |stream, width| {
            Array2::from_shape_fn((64, width), |(r, k)| Stream::new(5, stream).normal((r * width + k) as u64))
        };
        let (x, h, c) = (draw(0, input), draw(1, units).mapv(f32::tanh), draw(2, units));
        let truth = local(&cell, x.view(), h.view(), c.view(), &ActivationBudget::new(|_| 4.0));
        let ratio = |cell: &Tf1Cell| {
            let (h32, c32) = plain_f32(cell, &x, &h, &c);
            let of = |a: &Array2<f32>, b: &Bounded| {
                a.iter()
                    .zip(&b.value)
                    .zip(&b.bound)
                    .map(|((a, b), e)| (f64::from(*a) - b).abs() / e)
                    .fold(0.0, f64::max)
            };
            of(&h32, &truth.h).max(of(&c32, &truth.c))
        };
        let right = ratio(&cell);
        assert!(right < 1.0 && right > 1e-4, "{input} x {units} x {scale}: {right}");
        assert!(truth.h.bound.iter().zip(&truth.h.worst).all(|(p, w)| *p > 0.0 && w.is_finite()));
        let mut wrong = cell.clone();
        wrong.forget_bias = 0.99;
        let wrong = ratio(&wrong);
        assert!(wrong > 1.0, "{input} x {units} x {scale}: a forget bias of 0.99 stays at {wrong} of the bound");
    }
}

#[test]
fn nothing_is_guaranteed_for_endless_sums() {
    assert_eq!(gamma(2f64.powi(24)), f64::INFINITY);
    assert!(gamma(100.0) > 100.0 * UNIT_ROUNDOFF);
}

#[test]
fn slopes_cover_the_function_within_reach() {
    for function in Activation::ALL {
        for z in [-3.0, -1.0, -0.1, 0.0, 0.2, 0.7, 2.5, 5.9] {
            for delta in [1e-6, 1e-3, 0.1, 1.0] {
                let at = |z| oracle::activation(function, z);
                let moved = (at(z + delta) - at(z)).abs().max((at(z - delta) - at(z)).abs());
                assert!(moved <= through(function, at(z), delta) * (1.0 + 1e-9), "{function:?} at {z} ± {delta}");
            }
        }
    }
}

#[test]
fn the_constants_are_those_of_the_sources() {
    assert_eq!((UNIT_ROUNDOFF, LAMBDA, SMALLEST_RESULT), (2f64.powi(-24), 6.0, 2f64.powi(-12)));
    assert_eq!(gamma(100.0), 100.0 * UNIT_ROUNDOFF / (1.0 - 100.0 * UNIT_ROUNDOFF));
    assert!(gamma(2f64.powi(24) - 1.0).is_finite());
}

#[test]
fn each_function_has_its_own_budget() {
    let number = |a: Activation| Activation::ALL.iter().position(|b| *b == a).unwrap() as f64 + 2.0;
    let budget = ActivationBudget::new(number);
    for a in Activation::ALL {
        assert_eq!(budget.ulp(a), number(a));
        for (value, counts_as) in [(0.5, 0.5), (-0.5, 0.5), (8.0, 8.0), (0.0, 2f64.powi(-12)), (-1e-9, 2f64.powi(-12))]
        {
            assert_eq!(budget.at(a, value), number(a) * 2f64.powi(-23) * counts_as, "{a} at {value}");
        }
    }
}

#[test]
fn slopes_are_no_steeper_than_they_need_to_be() {
    use Activation::*;
    for delta in [1e-6, 1e-3] {
        assert_eq!(through(Sigmoid, 0.9, delta), (0.9 * (1.0 - 0.9) + 0.0963 * delta) * delta);
        assert_eq!(through(Tanh, 0.6, delta), ((1.0 - 0.6 * 0.6) + 0.7699 * delta) * delta);
        assert_eq!(through(HardSigmoidKeras2, 0.6, delta), 0.2 * delta);
        assert_eq!(through(HardSigmoidKeras3, 0.6, delta), 1.0 / 6.0 * delta);
        for function in [Relu, Relu6, Elu, Softplus, Softsign, Linear] {
            assert_eq!(through(function, 0.6, delta), delta);
        }
    }
    assert_eq!((through(Sigmoid, 0.9, 4.0), through(Tanh, 0.6, 4.0)), (1.0, 4.0), "no steeper than anywhere");
}

/// Rows are judged in blocks: what a block holds besides a row must not show in it.
#[test]
fn a_row_gives_the_same_bits_alone() {
    let stream = Stream::new(0, 7);
    let random = |rows: usize, columns: usize, from: usize| {
        Array2::from_shape_fn((rows, columns), |(r, c)| stream.normal((from + r * columns + c) as u64))
    };
    let mut cell = Tf1Cell::new(random(8, 20, 0), Array1::zeros(20)).unwrap();
    cell.projection = Some(random(5, 4, 1000));
    cell.kernel = random(300 + 4, 20, 0);
    cell.check().unwrap();
    let count = 67;
    let (x, h, c) = (random(count, 300, 2000), random(count, 4, 30_000), random(count, 5, 40_000));
    let budget = ActivationBudget::new(|_| 2.0);
    let all = local(&cell, x.view(), h.view(), c.view(), &budget);
    for row in [0, 1, 31, 64, count - 1] {
        let rows = s![row..row + 1, ..];
        let one = local(&cell, x.slice(rows), h.slice(rows), c.slice(rows), &budget);
        for (all, one) in [(&all.h, &one.h), (&all.c, &one.c), (&all.gates, &one.gates)] {
            for (all, one) in [(&all.value, &one.value), (&all.bound, &one.bound), (&all.worst, &one.worst)] {
                assert_eq!(all.slice(rows), *one, "row {row}");
            }
        }
    }
    assert!(all.h.bound.iter().chain(&all.gates.bound).chain(&all.c.worst).all(|b| *b > 0.0));
}

/// Two units with everything a cell can have, of which a test takes away what it does without.
/// Of so few digits that sums of a few products are exact in f32, as magnitudes are added there.
fn short<D: Dimension>(values: Array<f32, D>) -> Array<f32, D> {
    values.mapv(|v| (v * 64.0).round() / 64.0)
}

/// What magnitudes of products with so many rows of weights are raised by.
fn raised(rows: usize) -> f64 {
    let mu = (rows + 2) as f64 * 2f64.powi(-24);
    1.0 + 2.0 * mu / (1.0 - mu)
}

fn full_cell() -> Tf1Cell {
    let kernel =
        short(array![[0.5, -0.7, 0.9, 1.1, -0.4, 0.6, 0.8, -0.3], [-0.2, 0.3, 0.7, -0.5, 0.9, -1.2, 0.1, 0.4]]);
    let bias = array![0.1, -0.2, 0.3, 0.15, -0.25, 0.35, 0.05, -0.45];
    let mut cell = Tf1Cell::new(kernel.slice(s![.., ..4]).to_owned(), bias.slice(s![..4]).to_owned()).unwrap();
    (cell.kernel, cell.bias) = (kernel, bias);
    cell.projection = Some(short(array![[0.7], [-1.3]]));
    cell.forget_bias = -0.75;
    cell.peepholes = Some(Peepholes { input: array![0.3, -0.6], forget: array![-0.8, 0.2], output: array![0.4, -0.9] });
    cell.check().unwrap();
    cell
}

/// Magnitudes are added in f32, and raised by so much that they are never too small for it, and hardly too large.
#[test]
fn magnitudes_are_no_smaller_than_they_are() {
    for (seed, scale) in [(0, 0.01), (1, 1.0), (2, 40.0)] {
        let cell = random_cell(150, 40, scale, seed);
        let draw = Stream::new(seed, 7);
        let of = |width: usize, from: usize| {
            Array2::from_shape_fn((20, width), |(r, c)| draw.normal((from + r * width + c) as u64))
        };
        let (x, h) = (of(150, 0), of(40, 10_000));
        let found = Products::new(&cell).sums(x.view(), h.view()).magnitude;
        let size = |a: &Array2<f32>| a.mapv(|v| f64::from(v).abs());
        let read = concatenate![Axis(1), size(&x), size(&h)];
        let exact = read.dot(&size(&cell.kernel)) + &cell.bias.mapv(|b| f64::from(b).abs());
        let shares = &found / &exact;
        assert!(shares.iter().all(|share| (1.0..1.0 + 1e-4).contains(share)), "{shares}");
    }
}

/// The bound written down once more from the formulas at the head of this file, for one unit of a cell with two
/// rows in its kernel: value and error of i, j, f, o, c and h before the projection. `factor` is how far a sum
/// may be off, as a share of the sum of its terms' magnitudes.
fn by_hand(
    cell: &Tf1Cell,
    unit: usize,
    [x, h, c]: [f64; 3],
    factor: f64,
    sigma_ulp: f64,
    phi_ulp: f64,
) -> [[f64; 2]; 6] {
    let u = 2f64.powi(-24);
    let p = cell.peepholes.as_ref().map_or([0.0; 3], |p| [&p.input, &p.forget, &p.output].map(|p| f64::from(p[unit])));
    let forget_bias = f64::from(cell.forget_bias);
    // Value and error of a gate whose sum has these terms beside the weighted input and output and the bias.
    let gate = |block: usize, more: [f64; 2], carried: f64, tanh: bool| {
        let k = block * 2 + unit;
        let terms = [
            x * f64::from(cell.kernel[[0, k]]),
            h * f64::from(cell.kernel[[1, k]]),
            f64::from(cell.bias[k]),
            more[0],
            more[1],
        ];
        let z: f64 = terms.iter().sum();
        let sizes = terms.map(f64::abs);
        let dz = factor * (raised(2) * (sizes[0] + sizes[1]) + sizes[2..].iter().sum::<f64>()) + carried;
        if tanh { tanh_of(z, dz, phi_ulp) } else { sigmoid_of(z, dz, sigma_ulp) }
    };
    fn tanh_of(z: f64, dz: f64, ulp: f64) -> [f64; 2] {
        let v = z.tanh();
        [v, (1.0 - v * v + 0.7699 * dz) * dz + ulp * 2f64.powi(-23) * v.abs()]
    }
    fn sigmoid_of(z: f64, dz: f64, ulp: f64) -> [f64; 2] {
        let v = 1.0 / (1.0 + (-z).exp());
        [v, (v * (1.0 - v) + 0.0963 * dz) * dz + ulp * 2f64.powi(-23) * v]
    }
    let [i, di] = gate(0, [p[0] * c, 0.0], 0.0, false);
    let [j, dj] = gate(1, [0.0; 2], 0.0, true);
    let [f, df] = gate(2, [p[1] * c, forget_bias], 0.0, false);
    let new = f * c + i * j;
    let new = cell.cell_clip.map_or(new, |clip| new.clamp(-f64::from(clip), f64::from(clip)));
    // Both factors of i·j are off, the old state is not; two products and their sum round.
    let rounding = 2.0 * u * ((f * c).abs() + (i * j).abs() + di * j.abs() + df * c.abs());
    let dc = df * c.abs() + di * j.abs() + i * dj + di * dj + rounding;
    let [o, d_o] = gate(3, [p[2] * new, 0.0], p[2].abs() * dc, false);
    let [phi, dphi] = tanh_of(new, dc, phi_ulp);
    let dh = d_o * phi.abs() + o * dphi + d_o * dphi + 1.01 * u * (o * phi).abs();
    [[i, di], [j, dj], [f, df], [o, d_o], [new, dc], [o * phi, dh]]
}

#[test]
fn the_bound_is_the_sum_of_its_terms() {
    let full = full_cell();
    let plain = Tf1Cell { peepholes: None, ..full.clone() };
    let clipped = Tf1Cell { cell_clip: Some(0.2), projection_clip: Some(0.05), ..full.clone() };
    let (sigma_ulp, phi_ulp) = (3.0, 5.0);
    let budget = ActivationBudget::new(|a| match a {
        Activation::Sigmoid => sigma_ulp,
        Activation::Tanh => phi_ulp,
        _ => f64::NAN,
    });
    let u = 2f64.powi(-24);
    let near = |a: f64, b: f64, what: &str| assert!((a - b).abs() <= 1e-12 * b.abs(), "{what}: {a:e}, by hand {b:e}");
    // Weights that f32 does not hold count one rounding more, in every sum and in the projection.
    let mut rounded = full.clone();
    let mut weights = full.weights().into_owned();
    weights.kernel[[1, 2]] *= 1.0 + 2f64.powi(-50);
    rounded.hold(weights, 0.0);
    assert!(rounded.exact.is_some());
    for (cell, name, more) in
        [(full, "full", 0.0), (plain, "plain", 0.0), (clipped, "clipped", 0.0), (rounded, "rounded", 1.0)]
    {
        let (x, h) = (short(array![[0.8], [-1.7]]), short(array![[-0.6], [0.3]]));
        let c = array![[1.4, -0.9], [-0.5, 2.0]];
        let found = local(&cell, x.view(), h.view(), c.view(), &budget);
        for row in 0..2 {
            // Two products, the bias, and three more roundings: five.
            let factor_of = |m: f64, worst| if worst { m * u / (1.0 - m * u) } else { 6.0 * m.sqrt() * u };
            for worst in [false, true] {
                let factor = factor_of(5.0 + more, worst);
                let pick = |b: &Bounded| if worst { b.worst.clone() } else { b.bound.clone() };
                let units = [0, 1].map(|unit| {
                    let at = [x[[row, 0]], h[[row, 0]], c[[row, unit]]].map(f64::from);
                    by_hand(&cell, unit, at, factor, sigma_ulp, phi_ulp)
                });
                for (unit, parts) in units.iter().enumerate() {
                    for (block, [value, error]) in parts[..4].iter().enumerate() {
                        near(found.gates.value[[row, block * 2 + unit]], *value, name);
                        near(pick(&found.gates)[[row, block * 2 + unit]], *error, name);
                    }
                    near(found.c.value[[row, unit]], parts[4][0], name);
                    near(pick(&found.c)[[row, unit]], parts[4][1], name);
                }
                // The projection is a sum of two products, of factors that are off.
                let (weights, [a, b]) = ([0.703125, -1.296875], units.map(|parts| parts[5]));
                let value = weights[0] * a[0] + weights[1] * b[0];
                let size = (weights[0] * a[0]).abs() + (weights[1] * b[0]).abs();
                let factor = factor_of(3.0 + more, worst);
                let error = weights[0].abs() * a[1] + weights[1].abs() * b[1] + factor * size;
                let clip = cell.projection_clip.map_or(f64::INFINITY, f64::from);
                near(found.h.value[[row, 0]], value.clamp(-clip, clip), name);
                near(pick(&found.h)[[row, 0]], error, name);
            }
        }
    }
}

/// Layer normalisation takes the place of one step of the derivation, and what is added after it rounds by itself.
#[test]
fn normalised_sums_go_on_as_any_other() {
    let norm = |seed: f32| Norm { gamma: array![0.8 + seed, -1.1], beta: array![0.3, 0.2 * seed] };
    let plain = Tf1Cell { projection: None, ..full_cell() };
    let wide = short(array![
        [0.5, -0.7, 0.9, 1.1, -0.4, 0.6, 0.8, -0.3],
        [-0.2, 0.3, 0.7, -0.5, 0.9, -1.2, 0.1, 0.4],
        [0.3, 0.1, -0.6, 0.2, 0.7, -0.9, 0.5, 1.3]
    ]);
    let layer_norm = LayerNorm { gates: [norm(0.1), norm(0.2), norm(0.3), norm(0.4)], state: norm(0.5), epsilon: 1e-2 };
    let cell = Tf1Cell { kernel: wide, layer_norm: Some(layer_norm), cell_clip: None, ..plain };
    cell.check().unwrap();
    let (x, h, c) = (short(array![[0.8]]), short(array![[-0.6, 0.9]]), array![[1.4, -0.9]]);
    let (sigma_ulp, phi_ulp) = (3.0, 5.0);
    let budget = ActivationBudget::new(|a| if a == Activation::Sigmoid { sigma_ulp } else { phi_ulp });
    let found = local(&cell, x.view(), h.view(), c.view(), &budget);
    let u = 2f64.powi(-24);
    let norms = cell.weights().layer_norm.clone().unwrap();
    let peepholes = cell.weights().peepholes.clone().unwrap();
    let near = |a: f64, b: f64, what: &str| assert!((a - b).abs() <= 1e-12 * b.abs(), "{what}: {a:e}, by hand {b:e}");
    for (worst, factor) in [(0, 6.0 * 6f64.sqrt() * u), (1, 6.0 * u / (1.0 - 6.0 * u))] {
        let seen = [x[[0, 0]], h[[0, 0]], h[[0, 1]]].map(f64::from);
        let sums = |block: usize| {
            let mut row: Vec<Inexact> = (0..2)
                .map(|unit| {
                    let k = 2 * block + unit;
                    let terms = [0, 1, 2].map(|r| seen[r] * f64::from(cell.kernel[[r, k]]));
                    let bias = f64::from(cell.bias[k]);
                    let size = raised(3) * terms.iter().map(|t| t.abs()).sum::<f64>() + bias.abs();
                    Inexact { value: terms.iter().sum::<f64>() + bias, error: [factor * size; 2] }
                })
                .collect();
            // Both errors are the same here, so that the one of this kind is right.
            normalise::normalise(&mut row, &norms[block], 1e-2);
            row
        };
        let [i, j, f, o] = [0, 1, 2, 3].map(sums);
        let mut states = vec![];
        let mut gates = vec![];
        for unit in 0..2 {
            let old = f64::from(c[[0, unit]]);
            let gate = |sum: &Inexact, more: [f64; 2], function: Activation, carried: f64| {
                let e = sum.error[worst];
                let size = more[0].abs() + more[1].abs();
                let z = sum.value + more[0] + more[1];
                let dz = e + 4.04 * u * (sum.value.abs() + e + size) + carried;
                let v = oracle::activation(function, z);
                (v, through(function, v, dz) + budget.at(function, v))
            };
            let (gi, di) = gate(&i[unit], [peepholes[0][unit] * old, 0.0], Activation::Sigmoid, 0.0);
            // Nothing is added to the candidate.
            let (gj, dj) = {
                let v = j[unit].value.tanh();
                (v, through(Activation::Tanh, v, j[unit].error[worst]) + budget.at(Activation::Tanh, v))
            };
            let (gf, df) = gate(&f[unit], [peepholes[1][unit] * old, -0.75], Activation::Sigmoid, 0.0);
            let rounding = 2.0 * u * ((gf * old).abs() + (gi * gj).abs() + di * gj.abs() + df * old.abs());
            let error = df * old.abs() + di * gj.abs() + gi * dj + di * dj + rounding;
            states.push(Inexact { value: gf * old + gi * gj, error: [error; 2] });
            gates.push([(gi, di), (gj, dj), (gf, df)]);
        }
        normalise::normalise(&mut states, &norms[4], 1e-2);
        let pick = |b: &Bounded| if worst == 1 { b.worst.clone() } else { b.bound.clone() };
        for unit in 0..2 {
            let (new, dc) = (states[unit].value, states[unit].error[worst]);
            let seen = peepholes[2][unit];
            let e = o[unit].error[worst];
            let dz = e + 4.04 * u * (o[unit].value.abs() + e + (seen * new).abs()) + seen.abs() * dc;
            let go = oracle::activation(Activation::Sigmoid, o[unit].value + seen * new);
            let d_o = through(Activation::Sigmoid, go, dz) + budget.at(Activation::Sigmoid, go);
            let phi = new.tanh();
            let dphi = through(Activation::Tanh, phi, dc) + budget.at(Activation::Tanh, phi);
            let dh = d_o * phi.abs() + go * dphi + d_o * dphi + 1.01 * u * (go * phi).abs();
            for (block, (value, error)) in gates[unit].into_iter().chain([(go, d_o)]).enumerate() {
                near(found.gates.value[[0, 2 * block + unit]], value, "gate");
                near(pick(&found.gates)[[0, 2 * block + unit]], error, "error of a gate");
            }
            near(found.c.value[[0, unit]], new, "c");
            near(pick(&found.c)[[0, unit]], dc, "error of c");
            near(found.h.value[[0, unit]], go * phi, "h");
            near(pick(&found.h)[[0, unit]], dh, "error of h");
        }
    }
}

/// The form in which a projection follows the recurrence answers for the cell in which it is inside.
#[test]
fn unprojected_the_truth_stays_that_of_the_cell() {
    let plain = Tf1Cell { peepholes: None, ..full_cell() };
    let budget = ActivationBudget::new(|_| 2.0);
    let (x, c) = (short(array![[0.8], [-1.7]]), array![[1.4, -0.9], [-0.5, 2.0]]);
    let output = short(array![[0.6, -0.5], [0.125, 0.75]]);
    let u = 2f64.powi(-24);
    for clip in [None, Some(0.25)] {
        let cell = Tf1Cell { projection_clip: clip, ..plain.clone() };
        let projection = cell.projection.clone().unwrap();
        // The state of the cell is the projection of that output, in f64 and not rounded to f32 here.
        let limit = clip.map_or(f64::INFINITY, f64::from);
        let m = output.mapv(f64::from).dot(&projection.mapv(f64::from)).mapv(|v| v.clamp(-limit, limit));
        assert_eq!(clip.is_some(), m.iter().any(|v| v.abs() == limit));
        let found = Prepared::unprojected(&cell, &budget).local([x.view(), output.view(), c.view()]);
        let at = local(&cell, x.view(), m.mapv(|v| v as f32).view(), c.view(), &budget);
        for (found, expected) in [(&found.h, &at.h), (&found.c, &at.c), (&found.gates, &at.gates)] {
            assert!((&found.value - &expected.value).iter().all(|d| d.abs() < 1e-7), "{clip:?}");
        }
        // A sum of x and two outputs, of which the recurrent weights were rounded: three terms and four roundings.
        let flat = convert::unprojected(&cell);
        for (row, worst) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let factor = [6.0 * 7f64.sqrt() * u, 7.0 * u / (1.0 - 7.0 * u)][worst];
            let seen = [x[[row, 0]], output[[row, 0]], output[[row, 1]]].map(f64::from);
            for unit in 0..2 {
                let exact = flat.weights();
                let k = 2 + unit;
                let size = (0..3).map(|r| (seen[r] * exact.kernel[[r, k]]).abs()).sum::<f64>();
                let size = raised(3) * size + exact.bias[k].abs();
                let v = found.gates.value[[row, k]];
                let error = through(Activation::Tanh, v, factor * size) + budget.at(Activation::Tanh, v);
                let of = if worst == 1 { &found.gates.worst } else { &found.gates.bound };
                let share = of[[row, k]] / error;
                assert!((share - 1.0).abs() < 1e-12, "{clip:?} row {row} unit {unit}: {share}");
            }
        }
    }
    let no_projection =
        Tf1Cell { kernel: array![[0.5, -0.7, 0.9, 1.1], [-0.2, 0.3, 0.7, -0.5]], ..random_cell(1, 1, 0.5, 0) };
    let (x, h, c) = (array![[0.8]], array![[-0.6]], array![[1.4]]);
    assert_eq!(
        Prepared::unprojected(&no_projection, &budget).local([x.view(), h.view(), c.view()]),
        local(&no_projection, x.view(), h.view(), c.view(), &budget)
    );
}

/// Each weight alone, wrong by little more than rounding explains, takes h, c or a gate beyond even the bound that
/// is never exceeded.
#[test]
fn a_weight_wrong_in_its_fifth_digit_is_beyond_the_worst_case() {
    let cell = full_cell();
    let (x, h, c) = (array![[0.8]], array![[-0.6]], array![[1.4, -0.9]]);
    let budget = ActivationBudget::new(|_| 2.0);
    let right = local(&cell, x.view(), h.view(), c.view(), &budget);
    for weight in 0..cell.kernel.len() {
        let mut wrong = cell.clone();
        *wrong.kernel.iter_mut().nth(weight).unwrap() *= 1.0 + 5e-5;
        let found = local(&wrong, x.view(), h.view(), c.view(), &budget);
        let beyond = ((&found.gates.value - &right.gates.value).mapv_into(f64::abs) / &right.gates.worst)
            .fold(0.0, |m: f64, v| m.max(*v));
        assert!(beyond > 1.0, "weight {weight}: {beyond}");
    }
}
