//! What a kernel's source must be, found out without a GPU.

use naga::valid::{Capabilities, GlobalUse, ModuleInfo, ValidationFlags, Validator};
use naga::{AddressSpace, Module, TypeInner};

/// Parses and validates a kernel.
pub(crate) fn parse(text: &str) -> (Module, ModuleInfo) {
    let module = naga::front::wgsl::parse_str(text).unwrap_or_else(|e| panic!("{}", e.emit_to_string(text)));
    // No capability beyond WebGPU's own: the kernels must run anywhere, but for the one that is chosen only where a device
    // has these.
    let vector = Capabilities::SUBGROUP | Capabilities::SHADER_INT64;
    let capabilities = if text.contains("subgroupShuffle") { vector } else { Capabilities::empty() };
    let info = Validator::new(ValidationFlags::all(), capabilities)
        .validate(&module)
        .unwrap_or_else(|e| panic!("{}", e.emit_to_string(text)));
    (module, info)
}

/// Checks a kernel's entry point, bindings and parameters against what the host gives it.
pub(crate) fn check(text: &str, workgroup: u32, bindings: &[(&str, bool)], parameters: &[(&'static str, u32)]) {
    let (module, info) = parse(text);
    let [entry] = module.entry_points.as_slice() else { panic!("one entry point") };
    assert_eq!((entry.name.as_str(), entry.workgroup_size), ("main", [workgroup, 1, 1]));

    let uses = info.get_entry_point(0);
    let mut found = vec![];
    for (handle, variable) in module.global_variables.iter() {
        let Some(binding) = &variable.binding else { continue };
        let name = variable.name.clone().unwrap();
        // Two tensors may lie in one buffer, which then has to have one kind of access.
        let AddressSpace::Storage { access } = variable.space else { panic!("{name} is not a storage buffer") };
        assert!(access.contains(naga::StorageAccess::LOAD | naga::StorageAccess::STORE), "{name} is not read_write");
        assert!(!uses[handle].is_empty(), "{name} is not used, so an automatic layout would leave it out");
        assert_eq!(binding.group, 0);
        found.push((binding.binding, name.clone(), uses[handle].contains(GlobalUse::WRITE)));
        if name == "parameters" {
            let TypeInner::Struct { members, span } = &module.types[variable.ty].inner else { panic!("a struct") };
            let host: Vec<_> = parameters.iter().enumerate().map(|(i, (name, _))| (*name, 4 * i as u32)).collect();
            let kernel: Vec<_> = members.iter().map(|m| (m.name.as_deref().unwrap(), m.offset)).collect();
            assert_eq!(kernel, host);
            assert_eq!(*span as usize, 4 * parameters.len());
        }
    }
    found.sort();
    let host: Vec<_> =
        bindings.iter().enumerate().map(|(i, (name, written))| (i as u32, (*name).to_owned(), *written)).collect();
    assert_eq!(found, host);
}

/// Bytes of workgroup memory that a kernel takes.
pub(crate) fn workgroup_bytes(text: &str) -> u32 {
    let (module, _) = parse(text);
    let workgroup = module.global_variables.iter().filter(|(_, v)| v.space == AddressSpace::WorkGroup);
    workgroup.map(|(_, v)| module.types[v.ty].inner.size(module.to_ctx())).sum()
}
