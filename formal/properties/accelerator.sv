// The streams between the units, each in its place: what one unit's proof assumes of another.
  formal_stream #(.W($bits(operand_fetch__step__msg))) f_step (
    .clk, .reset, .val(operand_fetch__step__val), .rdy(operand_fetch__step__rdy),
    .msg(operand_fetch__step__msg)
  );
  formal_stream #(.W($bits(pe_array__acc__msg))) f_acc (
    .clk, .reset, .val(pe_array__acc__val), .rdy(pe_array__acc__rdy), .msg(pe_array__acc__msg)
  );
  formal_stream #(.W($bits(pooling_unit__pooled__msg))) f_pooled (
    .clk, .reset, .val(pooling_unit__pooled__val), .rdy(pooling_unit__pooled__rdy),
    .msg(pooling_unit__pooled__msg)
  );
  formal_stream #(.W($bits(param_sequencer__param__msg))) f_param (
    .clk, .reset(reset | ~running), .val(param_sequencer__param__val),
    .rdy(param_sequencer__param__rdy), .msg(param_sequencer__param__msg)
  );
  formal_stream #(.W($bits(requantizer__out__msg))) f_out (
    .clk, .reset, .val(requantizer__out__val), .rdy(requantizer__out__rdy),
    .msg(requantizer__out__msg)
  );
  formal_stream #(.W(65)) f_result (
    .clk, .reset, .val(result__val), .rdy(result__rdy), .msg({result_last, result__msg})
  );
// One port writes the activation memory: an output and an image's word never come at once.
  always @(*)
    if (~reset & f_began) assert (~(write_sequencer__write_mask != 0 & image_loader__write_mask != 0));
