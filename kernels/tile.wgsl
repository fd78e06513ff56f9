// The pre-activations of up to sixteen sequences in one invocation: what the routes by sequence and by step share.
//
// Comes after frame.wgsl; a route's file follows with of_x and of_h, the products.

// Those of a workgroup's sequences: the second four with QUADS > 1, the others with QUADS = 4.
struct Tile {
    a: Gates,
    b: Gates,
    c: Gates,
    d: Gates,
}

fn add_tiles(a: Tile, b: Tile) -> Tile {
    return Tile(add(a.a, b.a), add(a.b, b.b), add(a.c, b.c), add(a.d, b.d));
}

// In the order in which the cell adds its products.
fn preactivations(here: Here, unit: u32) -> Tile {
    let x = of_x(Tile(), here, unit);
    if (ONE_SUM) {
        return of_h(x, here, unit);
    }
    return add_tiles(x, of_h(Tile(), here, unit));
}

// All of a workgroup's sequences from their pre-activations.
fn finish_tile(here: Here, unit: u32, z: Tile) {
    for (var quad = 0u; quad < QUADS; quad++) {
        var gates = z.a;
        if (quad == 1u) {
            gates = z.b;
        } else if (quad == 2u) {
            gates = z.c;
        } else if (quad == 3u) {
            gates = z.d;
        }
        finish(here.first + 4u * quad, here.step, places(quad, here.step), unit, gates);
    }
}
