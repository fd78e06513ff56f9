//! `.npz` and `.safetensors`: files of the real numpy and safetensors libraries (`models/make_arrays.py`), and our own.

use std::path::{Path, PathBuf};

use keras_file::{Array, Dtype, Format, KerasFile, Layer, LayerKind, Lstm, Problem, Target};
use proptest::prelude::*;

fn path(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models/arrays").join(file)
}

fn read(file: &str) -> KerasFile {
    keras_file::read(&path(file)).unwrap_or_else(|e| panic!("{e}"))
}

/// Array number `k` of the fixtures.
fn values(k: usize, shape: &[usize]) -> Vec<f32> {
    (0..shape.iter().product()).map(|i| ((7 * k + i) % 64) as f32 / 8.0 - 31.0 / 8.0).collect()
}

/// What an LSTM of arrays `k`, `k + 1` and `k + 2` is.
fn lstm(k: usize, inputs: usize, units: usize, bias: bool) -> Lstm {
    let array = |k: usize, shape: &[usize]| Array::float32(shape.to_vec(), values(k, shape));
    Lstm {
        kernel: array(k, &[inputs, 4 * units]),
        recurrent_kernel: array(k + 1, &[units, 4 * units]),
        bias: bias.then(|| array(k + 2, &[4 * units])),
        config: None,
        stored: keras_file::Stored::Plain,
    }
}

fn single(name: &str, lstm: Lstm) -> Layer {
    Layer { name: name.into(), kind: LayerKind::Lstm(lstm) }
}

fn double(name: &str, forward: Lstm, backward: Lstm) -> Layer {
    Layer { name: name.into(), kind: LayerKind::Bidirectional { forward, backward, merge_mode: None } }
}

/// `lstm` as if stored in another type.
fn stored(mut lstm: Lstm, dtype: Dtype) -> Lstm {
    for array in [Some(&mut lstm.kernel), Some(&mut lstm.recurrent_kernel), lstm.bias.as_mut()].into_iter().flatten() {
        array.stored_as = dtype;
    }
    lstm
}

fn names(file: &KerasFile) -> Vec<&str> {
    file.layers.iter().map(|l| l.name.as_str()).collect()
}

fn others(file: &KerasFile) -> Vec<String> {
    let arrays = |l: &keras_file::OtherLayer| {
        l.arrays.iter().map(|a| format!("{} {} {:?}", l.name, a.name, a.shape)).collect::<Vec<_>>()
    };
    file.other_layers.iter().flat_map(arrays).collect()
}

#[test]
fn names_of_keras_variables_make_layers() {
    let file = read("keras_names.npz");
    assert_eq!((file.format.as_str(), file.order_known), ("npz", true));
    let expected = [
        single("lstm/lstm_cell", lstm(0, 3, 2, true)),
        double("bidirectional", lstm(8, 3, 2, true), lstm(3, 3, 2, true)),
    ];
    assert_eq!(names(&file), ["lstm", "bidirectional"]);
    assert!(file.layers.iter().zip(&expected).all(|(a, e)| a.kind == e.kind));
    assert_eq!(others(&file), ["dense kernel [4, 5]", "dense bias [5]", "iterations iterations []"]);
}

#[test]
fn byte_order_fortran_order_and_compression_do_not_matter() {
    assert_eq!(read("alone.npz").layers, [single("lstm", stored(lstm(0, 3, 2, true), Dtype::Float64))]);
    assert_eq!(read("float16.npz").layers, [single("a", stored(lstm(0, 3, 2, false), Dtype::Float16))]);
    assert_eq!(read("versions.npz").layers, [single("v", lstm(0, 3, 2, true))]);
}

#[test]
fn arrays_without_names_are_taken_in_their_order() {
    let file = read("positional.npz");
    let mut cudnn = lstm(6, 2, 2, false);
    cudnn.bias = Some(Array::float32(vec![16], values(8, &[16])));
    let expected =
        [single("lstm", lstm(1, 3, 2, true)), single("lstm_1", lstm(4, 2, 2, false)), single("lstm_2", cudnn)];
    assert_eq!(file.layers, expected);
    assert!(file.order_known);
    assert_eq!(others(&file), ["arr_0 arr_0 [9, 3]", "arr_9 arr_9 [2, 5]", "arr_10 arr_10 [5]"]);
}

#[test]
fn arrays_of_a_wrong_conversion_are_kept_as_they_are() {
    let file = read("column_split.npz");
    let LayerKind::Lstm(lstm) = &file.layers[0].kind else { panic!("not an LSTM") };
    assert_eq!((lstm.kernel.shape.as_slice(), lstm.recurrent_kernel.shape.as_slice()), (&[5, 4][..], &[5, 4][..]));
    assert_eq!((lstm.inputs(), lstm.units()), (5, 5));
    let gru = read("gru.npz");
    assert!(gru.layers.is_empty());
    assert_eq!(others(&gru), ["gru kernel [3, 6]", "gru recurrent_kernel [2, 6]", "gru bias [2, 6]"]);
}

#[test]
fn what_writers_sort_by_name_is_put_in_order_of_the_numbers() {
    let file = read("twelve.safetensors");
    assert_eq!((file.format, file.order_known), (Format::Safetensors, true));
    for (i, layer) in file.layers.iter().enumerate() {
        let name = if i == 0 { "lstm".to_owned() } else { format!("lstm_{i}") };
        assert_eq!(*layer, single(&name, lstm(3 * i, 1, 1, true)));
    }
    assert_eq!(file.layers.len(), 12);
}

#[test]
fn an_order_that_the_names_do_not_tell_is_not_claimed() {
    // As a library writes it that sorts names: the decoder may well come second.
    let safetensors = |layers: [&str; 2]| {
        let mut header = String::from("{");
        for (i, name) in
            layers.iter().flat_map(|l| [format!("{l}.kernel"), format!("{l}.recurrent_kernel")]).enumerate()
        {
            let (from, to) = (16 * i, 16 * i + 16);
            let comma = if i == 0 { "" } else { "," };
            header += &format!(r#"{comma}"{name}":{{"dtype":"F32","shape":[1,4],"data_offsets":[{from},{to}]}}"#);
        }
        header += "}";
        let bytes = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &[0; 64]].concat();
        keras_file::decode(bytes).unwrap_or_else(|e| panic!("{e}"))
    };
    let file = safetensors(["decoder", "encoder"]);
    assert_eq!((names(&file), file.order_known), (vec!["decoder", "encoder"], false));
    let file = safetensors(["encoder", "decoder"]);
    assert_eq!((names(&file), file.order_known), (vec!["encoder", "decoder"], true));
    let file = safetensors(["layer.10.lstm", "layer.9.lstm"]);
    assert_eq!((names(&file), file.order_known), (vec!["layer/9/lstm", "layer/10/lstm"], true));
}

#[test]
fn every_float_type_of_safetensors_is_exact() {
    for dtype in [Dtype::Float16, Dtype::BFloat16, Dtype::Float64] {
        let file = read(&format!("{}.safetensors", dtype.as_str()));
        let half = |k| stored(lstm(k, 3, 2, true), dtype);
        assert_eq!(file.layers, [double("bi", half(0), half(3))]);
        assert_eq!(others(&file), ["ids ids [3]"]);
    }
}

#[test]
fn recorded_inputs_of_every_type_are_read_exactly() {
    for file in ["inputs.npz", "inputs_deflated.npz"] {
        let arrays = keras_file::read_arrays(&path(file)).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(arrays.len(), 26);
        let counting: Vec<f64> = (0..24).map(f64::from).collect();
        for array in &arrays {
            let values = array.values.as_slice();
            match array.name.as_str() {
                "i1" => assert_eq!((values, array.dtype.as_str()), (&[-128.0, 127.0][..], "int8")),
                "u1" => assert_eq!((values, array.dtype.as_str()), (&[0.0, 255.0][..], "uint8")),
                "b1" => assert_eq!((values, array.dtype.as_str()), (&[1.0, 0.0][..], "bool")),
                "scalar" => assert_eq!((values, array.shape.as_slice()), (&[1.5][..], &[][..])),
                "none" => assert_eq!((values, array.shape.as_slice()), (&[][..], &[0, 3][..])),
                "exact" => assert_eq!(values, [-9_007_199_254_740_992.0, 9_007_199_254_740_992.0]),
                "special" => {
                    assert!(values[0].is_nan() && values[1] == f64::INFINITY);
                    assert_eq!(values[2].to_bits(), (-0.0f64).to_bits());
                }
                name => {
                    assert_eq!((values, array.shape.as_slice()), (&counting[..], &[2, 3, 4][..]), "{name}");
                    let code = name.rsplit('_').next().expect("a type");
                    let (kind, bytes) = code.split_at(1);
                    let kind = match kind {
                        "f" if code != "fortran" => "float",
                        "u" => "uint",
                        _ => "int",
                    };
                    let bits = bytes.parse::<usize>().unwrap_or(8) * 8;
                    assert_eq!(array.dtype, format!("{kind}{bits}"), "{name}");
                }
            }
        }
    }
}

#[test]
fn recorded_inputs_that_are_not_exact_numbers_are_refused() {
    let refused = |file: &str| keras_file::read_arrays(&path(file)).expect_err(file).to_string();
    assert!(refused("inexact.npz").contains("found 9007199254740993"), "{}", refused("inexact.npz"));
    assert!(refused("text.npz").contains("array \"t\": expected float, integer or bool elements, found <U1"));
    assert!(refused("complex.npz").contains("found <c8"));
    assert!(refused("none.npz").contains("reading arrays from"));
    let error = refused("twelve.safetensors");
    assert!(error.contains("expected a zip archive of .npy arrays"), "{error}");
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden");
    let archive = keras_file::read_arrays(&golden.join("basic/keras2/model.keras")).expect_err("no .npz");
    assert!(matches!(archive.problem(), Problem::NotNpz { found } if found.contains("metadata.json")), "{archive}");
    let bidirectional = keras_file::read_arrays(&golden.join("bidirectional/io.npz")).expect("recorded inputs");
    let shown: Vec<_> = bidirectional.iter().map(|a| (a.name.as_str(), a.dtype.as_str())).collect();
    assert_eq!(shown[0], ("x", "float32"));
    assert_eq!(shown[4].0, "seq_len");
}

const TARGETS: [(Target, Format); 2] = [(Target::Npz, Format::Npz), (Target::Safetensors, Format::Safetensors)];

fn round_trip(layers: &[Layer]) {
    for (target, format) in TARGETS {
        let bytes = keras_file::encode(&[layers.to_vec()], target).unwrap_or_else(|e| panic!("{target:?}: {e}"));
        assert!(bytes == keras_file::encode(&[layers.to_vec()], target).expect("again"), "not reproducible");
        let file = keras_file::decode(bytes).unwrap_or_else(|e| panic!("{target:?}: {e}"));
        assert_eq!((file.format, file.order_known, file.other_layers.len()), (format, true, 0));
        assert!(file.layers == layers, "{target:?}: {:?}, expected {:?}", names(&file), layers);
    }
}

#[test]
fn what_is_written_comes_back_in_its_order() {
    round_trip(&[single("b", lstm(0, 3, 2, true)), double("a", lstm(3, 3, 1, true), lstm(6, 3, 2, false))]);
    // Without biases the arrays happen to be sorted by name.
    round_trip(&[single("lstm_10", lstm(0, 3, 2, false)), single("lstm_2", lstm(3, 3, 2, false))]);
    round_trip(&[single("lstm", lstm(0, 3, 2, false))]);
}

#[test]
fn values_that_are_not_finite_keep_their_bits() {
    let mut layer = lstm(0, 2, 2, true);
    layer.kernel.data[..5].copy_from_slice(&[f32::NAN, -f32::NAN, f32::NEG_INFINITY, -0.0, 1e-45]);
    let bits = |l: &Lstm| l.kernel.data.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    for (target, _) in TARGETS {
        let bytes = keras_file::encode(&[vec![single("a", layer.clone())]], target).expect("bytes");
        let file = keras_file::decode(bytes).expect("a file");
        let LayerKind::Lstm(found) = &file.layers[0].kind else { panic!("not an LSTM") };
        assert_eq!(bits(found), bits(&layer));
    }
}

#[test]
fn names_that_would_read_as_directions_or_paths_are_changed() {
    let layers: Vec<_> =
        ["a.fw", "forward_a", "backward_a", "fw", "rnn/bw"].map(|name| single(name, lstm(0, 2, 2, true))).to_vec();
    let chains = [layers];
    for (target, _) in TARGETS {
        let file = keras_file::decode(keras_file::encode(&chains, target).expect("bytes")).expect("a file");
        assert_eq!(names(&file), ["a_fw", "lstm_forward_a", "lstm_backward_a", "lstm_fw", "rnn_bw"]);
    }
}

#[test]
fn what_is_written_is_checked() {
    let mut wrong = lstm(0, 2, 3, true);
    wrong.kernel.shape = vec![4, 6];
    for (target, _) in TARGETS {
        let error = keras_file::encode(&[vec![single("a", wrong.clone())]], target).expect_err("a wrong shape");
        assert!(matches!(error.problem(), Problem::Shape { .. }), "{error}");
    }
}

prop_compose! {
    fn any_layer()(name in "[a-c](_[0-9]{1,3})?", k in 0usize..50, inputs in 1usize..4, units in 1usize..4, bias: bool, both: bool)
    -> Layer {
        let half = |k| lstm(k, inputs, units, bias);
        if both { double(&name, half(k), half(k + 3)) } else { single(&name, half(k)) }
    }
}

proptest! {
    #[test]
    fn any_layers_come_back(mut layers in prop::collection::vec(any_layer(), 1..9)) {
        let mut used = std::collections::HashSet::new();
        layers.retain(|l| used.insert(l.name.clone()));
        round_trip(&layers);
    }
}
