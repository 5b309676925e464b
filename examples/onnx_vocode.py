"""Copy-synthesis with an exported vocoder, without torch and without synthkit: python onnx_vocode.py VOCODER.onnx IN.wav OUT.wav"""

import json
import sys

import librosa
import numpy as np
import onnxruntime
import soundfile


def log_mel(sound: np.ndarray, spec: dict) -> np.ndarray:
    """Samples [C, T] to features [C, M, N], as the spec in the file's metadata says."""
    n_fft, hop = spec["n_fft"], spec["hop_length"]
    side = {"same": (n_fft - hop) // 2, "center": n_fft // 2, "valid": 0}[spec["framing"]]
    padded = np.pad(sound, ((0, 0), (side, side)), mode="reflect")
    window = librosa.util.pad_center(librosa.filters.get_window("hann", spec["win_length"]), size=n_fft)
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft, axis=1)[:, ::hop] * window
    power = np.abs(np.fft.rfft(frames)) ** 2 / (np.sum(window**2) if spec["window_norm"] else 1) + spec["magnitude_eps"]
    bands = {"fmin": spec["f_min"], "fmax": spec["f_max"], "htk": spec["mel_scale"] == "htk", "norm": spec["norm"]}
    filters = librosa.filters.mel(sr=spec["sample_rate"], n_fft=n_fft, n_mels=spec["n_mels"], dtype=np.float64, **bands)
    mel = np.maximum(power ** (spec["power"] / 2) @ filters.T, spec["floor"])
    units = {"ln": np.log, "log10": np.log10, "db": lambda x: 10 * np.log10(x), "none": lambda x: x}[spec["log"]](mel)
    return (spec["gain"] * units + spec["offset"]).swapaxes(1, 2).astype(np.float32)


session = onnxruntime.InferenceSession(sys.argv[1])
spec = json.loads(session.get_modelmeta().custom_metadata_map["synthkit"])["spec"]
sound, _ = librosa.load(sys.argv[2], sr=spec["sample_rate"], mono=False)
(made,) = session.run(None, {"features": log_mel(np.atleast_2d(sound), spec)})
soundfile.write(sys.argv[3], made.T, spec["sample_rate"])
