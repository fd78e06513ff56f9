// Four f32 of weights or state in memory as two words of 64 bits: for adapters that pay by the word and not by the byte.

alias Four = vec2<u64>;

fn two(word: u64) -> vec2<f32> {
    return bitcast<vec2<f32>>(vec2(u32(word & 0xfffffffflu), u32(word >> 32u)));
}

fn word(v: vec2<f32>) -> u64 {
    let bits = bitcast<vec2<u32>>(v);
    return u64(bits.x) | (u64(bits.y) << 32u);
}

fn four(in_memory: Four) -> vec4<f32> {
    return vec4(two(in_memory.x), two(in_memory.y));
}

fn packed(v: vec4<f32>) -> Four {
    return vec2(word(v.xy), word(v.zw));
}
