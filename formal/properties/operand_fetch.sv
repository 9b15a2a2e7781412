// A step for each command, in order, with what the command says of it.
  localparam W = $bits(command.layer) + $bits(command.idx) + GROUPS * 9 + 6;
  wire f_tracks;
  wire [3:0] f_ahead, f_waited;
  wire [W-1:0] f_marked;
  formal_queue #(.W(W), .LATENCY(3)) f_queue (
    .clk, .reset(reset),
    .in(command_val & go),
    .in_msg({
      command.layer, command.reads, command.idx, command.load, command.keep,
      command.first, command.last, command.pool_first, command.pool_last
    }),
    .out(step__val & step__rdy),
    .out_msg({
      layer, reads, step__msg.idx, step__msg.load, step__msg.keep,
      step__msg.first, step__msg.last, step__msg.pool_first, step__msg.pool_last
    }),
    .may(step__rdy),
    .held(4'(read_val) + 4'(data_val) + 4'(step_val)),
    .tracks(f_tracks), .ahead(f_ahead), .waited(f_waited), .marked(f_marked)
  );
  // Where the marked one is
  wire f_in_read = read_val & f_ahead == 4'(data_val) + 4'(step_val);
  wire f_in_data = data_val & f_ahead == 4'(step_val);
  wire f_in_step = step_val & f_ahead == 0;
  wire [W-1:0] f_read = {
    at_read.layer, at_read.reads, at_read.idx, at_read.load, at_read.keep,
    at_read.first, at_read.last, at_read.pool_first, at_read.pool_last
  };
  wire [W-1:0] f_data = {
    at_data.layer, at_data.reads, at_data.idx, at_data.load, at_data.keep,
    at_data.first, at_data.last, at_data.pool_first, at_data.pool_last
  };
  wire [W-1:0] f_step = {
    at_step.layer, at_step.reads, at_step.idx, at_step.load, at_step.keep,
    at_step.first, at_step.last, at_step.pool_first, at_step.pool_last
  };
  always @(*)
    if (~reset & f_tracks) begin
      if (f_in_read) assert (f_marked == f_read & f_waited <= 1);
      if (f_in_data) assert (f_marked == f_data & f_waited <= 2);
      if (f_in_step) assert (f_marked == f_step & f_waited <= 3);
    end
