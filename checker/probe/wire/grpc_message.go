package wire

import (
	"encoding/binary"
	"errors"
	"strconv"
)

// GRPCHealthRequest returns a HealthCheckRequest in a gRPC frame: one string, field 1. The
// two messages of grpc.health.v1.Health/Check are too small for a library.
func GRPCHealthRequest(service string) []byte {
	var message []byte
	if service != "" {
		message = binary.AppendUvarint([]byte{1<<3 | 2}, uint64(len(service)))
		message = append(message, service...)
	}
	frame := binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message)))
	return append(frame, message...)
}

var errNoHealth = errors.New("not a response of the health service")

// ParseGRPCHealth returns the serving status of a HealthCheckResponse in a gRPC frame: an
// enumeration, field 1, 0 if it is missing. Unknown fields are skipped.
func ParseGRPCHealth(b []byte) (status uint64, err error) {
	if len(b) < 5 || b[0] != 0 || uint64(binary.BigEndian.Uint32(b[1:])) != uint64(len(b)-5) {
		return 0, errNoHealth
	}
	for b = b[5:]; len(b) > 0; {
		tag, n := binary.Uvarint(b)
		if n <= 0 {
			return 0, errNoHealth
		}
		b = b[n:]
		skip := uint64(0)
		switch tag & 7 {
		case 0:
			value, n := binary.Uvarint(b)
			if n <= 0 {
				return 0, errNoHealth
			}
			if tag>>3 == 1 {
				status = value
			}
			skip = uint64(n)
		case 1:
			skip = 8
		case 2:
			size, n := binary.Uvarint(b)
			if n <= 0 || size > uint64(len(b)) {
				return 0, errNoHealth
			}
			skip = size + uint64(n)
		case 5:
			skip = 4
		default:
			return 0, errNoHealth
		}
		if skip > uint64(len(b)) {
			return 0, errNoHealth
		}
		b = b[skip:]
	}
	return status, nil
}

// grpcServing is HealthCheckResponse.ServingStatus.
var grpcServing = [...]string{"UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"}

const GRPCServing = 1

// GRPCServingName returns the name of a serving status.
func GRPCServingName(status uint64) string {
	if status < uint64(len(grpcServing)) {
		return grpcServing[status]
	}
	return "status " + strconv.FormatUint(status, 10)
}

// GRPCCodes are the gRPC status codes that a health service is likely to return.
var GRPCCodes = map[string]string{"1": "CANCELLED", "2": "UNKNOWN", "4": "DEADLINE_EXCEEDED", "5": "NOT_FOUND", "7": "PERMISSION_DENIED",
	"8": "RESOURCE_EXHAUSTED", "12": "UNIMPLEMENTED", "13": "INTERNAL", "14": "UNAVAILABLE", "16": "UNAUTHENTICATED"}
