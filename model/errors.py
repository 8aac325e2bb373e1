"""What can go wrong in the model library: one class per thing the user can fix. Everything else is a bug."""


class ModelError(Exception):
    """Base of all errors a caller can act on. `str(error)` is a full sentence for the user."""


class MediaError(ModelError):
    """Base of everything wrong with an input file."""


class NotMedia(MediaError):
    """The file is not a video or audio file of an accepted container."""


class NoVideoStream(MediaError):
    """The file has no video stream."""


class NoVideoFrames(MediaError):
    """The video stream holds no frame that can be decoded."""


class NoAudioStream(MediaError):
    """The voice file has no audio stream."""


class AudioTooShort(MediaError):
    """The voice is empty or shorter than 20 ms, too short for one audio feature."""


class SilentAudio(MediaError):
    """The voice holds no sound at all: every sample is zero."""


class CorruptMedia(MediaError):
    """The file opens but its content cannot be decoded."""


class MediaTooLarge(MediaError):
    """The picture, the number of frames or the duration is over the limit."""


class MediaTimeout(MediaError):
    """Decoding the file stood still, or took more processor time than is allowed."""


class NoFaceFound(ModelError):
    """No frame shows a face. Send a clip with one visible face at least 64 px high."""


class FaceTrackNotFound(ModelError):
    """The clip has no face track with this id."""


class NoFaceAtPoint(ModelError):
    """No face is at this place of the picture at this time."""


class SegmentNotInVideo(ModelError):
    """A part that is to be dubbed is not a part of the video: it ends after it, or no frame begins in it."""


class WeightsError(ModelError):
    """Weights are missing, unreadable, of the wrong hash, or do not fit the networks."""


class DetectorError(ModelError):
    """The face detector's file is missing, unreadable or of the wrong hash."""


class EncoderUnavailable(ModelError):
    """This machine's FFmpeg cannot encode with the codec that was asked for."""


class DeviceOutOfMemory(ModelError):
    """The device's memory does not hold this render."""


class DeviceFailed(ModelError):
    """The device reported a fault. Everything that this process asks of it from now on may fail: start another one."""
