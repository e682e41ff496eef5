from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ProcessRequest(_message.Message):
    __slots__ = ("image", "scale", "grayscale", "rotate")
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    SCALE_FIELD_NUMBER: _ClassVar[int]
    GRAYSCALE_FIELD_NUMBER: _ClassVar[int]
    ROTATE_FIELD_NUMBER: _ClassVar[int]
    image: bytes
    scale: Scale
    grayscale: bool
    rotate: int
    def __init__(self, image: _Optional[bytes] = ..., scale: _Optional[_Union[Scale, _Mapping]] = ..., grayscale: _Optional[bool] = ..., rotate: _Optional[int] = ...) -> None: ...

class Scale(_message.Message):
    __slots__ = ("width", "height", "how")
    class How(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        EXACT: _ClassVar[Scale.How]
        FIT: _ClassVar[Scale.How]
        COVER: _ClassVar[Scale.How]
    EXACT: Scale.How
    FIT: Scale.How
    COVER: Scale.How
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    HOW_FIELD_NUMBER: _ClassVar[int]
    width: int
    height: int
    how: Scale.How
    def __init__(self, width: _Optional[int] = ..., height: _Optional[int] = ..., how: _Optional[_Union[Scale.How, str]] = ...) -> None: ...

class ProcessReply(_message.Message):
    __slots__ = ("image",)
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    image: bytes
    def __init__(self, image: _Optional[bytes] = ...) -> None: ...
