// Four f32 of weights or state in memory, as they are.

alias Four = vec4<f32>;

fn four(in_memory: Four) -> vec4<f32> {
    return in_memory;
}

fn packed(v: vec4<f32>) -> Four {
    return v;
}
