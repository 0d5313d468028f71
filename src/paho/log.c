/* Defines Paho's log anew: it hands on each packet as numbers, not as text; what they mean is read in `packet.rs`, the few other lines in `line.rs`.
 *
 * Paho's own (`Log.c`) is not linked, since every name that the rest of Paho uses of it is here. It formats
 * each line twice, with the local time, before its trace callback is asked: a quarter to a third of all
 * that a worker can receive. The arguments are those of the calls in Paho C 1.3.16, which its formats in
 * `Messages.c` spell out; a test compares those.
 */

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

/* Of `LOG_LEVELS` in Paho's `Log.h`: a packet, and what else is of interest at about that level. */
enum { PROTOCOL = 4 };

/* Paho's longest line is longer, but nothing is read behind this. */
enum { LINE_MAX = 512 };

struct packet {
	int number; /* of its format in `protocol_message_list` */
	int socket;
	const char *client_id;
	int values[5]; /* as many as the format has, less those of the payload */
	const char *payload; /* how it begins; NULL for none */
	int shown;
};

typedef void on_packet(const struct packet *);
typedef void on_line(const char *);

static on_packet *packets = NULL;
static on_line *lines = NULL;

/* To be called once, before any other thread uses Paho. */
void mqfleet_listen(on_packet *packet_listener, on_line *line_listener)
{
	packets = packet_listener;
	lines = line_listener;
}

/* How many values stand between client ID and payload; -1 for what is no packet of a client's. */
static int values_of(int number)
{
	switch (number)
	{
	case 21: /* <- PINGRESP */
		return 0;
	case 1: /* <- CONNACK */
	case 14: /* <- PUBACK */
	case 15: /* <- PUBREC */
	case 17: /* <- PUBREL */
	case 19: /* <- PUBCOMP */
	case 20: /* -> PINGREQ */
	case 23: /* <- SUBACK */
	case 24: /* <- UNSUBACK */
	case 28: /* -> DISCONNECT */
	case 30: /* <- DISCONNECT */
		return 1;
	case 12: /* -> PUBACK */
	case 13: /* -> PUBREC */
	case 16: /* -> PUBREL */
	case 18: /* -> PUBCOMP */
	case 22: /* -> SUBSCRIBE */
	case 25: /* -> UNSUBSCRIBE */
		return 2;
	case 0: /* -> CONNECT */
	case 27: /* -> PUBLISH at QoS 0 */
		return 3;
	case 11: /* <- PUBLISH */
		return 4;
	case 10: /* -> PUBLISH */
		return 5;
	default:
		return -1;
	}
}

void Log(int level, int number, const char *format, ...)
{
	va_list args;
	int values = values_of(number);

	if (level < PROTOCOL || packets == NULL || lines == NULL)
		return;
	va_start(args, format);
	if (format != NULL)
	{
		char line[LINE_MAX];

		vsnprintf(line, sizeof line, format, args);
		lines(line);
	}
	else if (level == PROTOCOL && values >= 0)
	{
		struct packet packet = { .number = number };

		packet.socket = va_arg(args, int);
		packet.client_id = va_arg(args, const char *);
		for (int i = 0; i < values; ++i)
			packet.values[i] = va_arg(args, int);
		if (number == 10 || number == 11 || number == 27)
		{
			packet.shown = va_arg(args, int);
			packet.payload = va_arg(args, const char *);
		}
		packets(&packet);
	}
	va_end(args);
}

/* Paho calls these. Who listens is set above, and there is nothing else to set. */

int Log_initialize(void *info)
{
	(void)info;
	return 0;
}

void Log_terminate(void)
{
}

void Log_setTraceCallback(void *callback)
{
	(void)callback;
}

void Log_setTraceLevel(int level)
{
	(void)level;
}
